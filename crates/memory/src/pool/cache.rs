//! Free blocks, by class, oldest first.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::Block;
use super::class::{CLASSES, class_of};

/// Free blocks of every class. Each list is a stack: what was released last has its lines still in cache.
pub(super) struct Cache {
    classes: Vec<Vec<Block>>,
    bytes: usize,
    /// Releases into this cache, to look for old blocks once in a while.
    pub(super) puts: u32,
}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache { classes: (0..CLASSES).map(|_| Vec::new()).collect(), bytes: 0, puts: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn pop(&mut self, class: usize) -> Option<Block> {
        let block = self.classes.get_mut(class)?.pop()?;
        self.bytes -= block.capacity();
        Some(block)
    }

    /// Keeps a block whose size is that of a class.
    pub(super) fn push(&mut self, block: Block) {
        if let Some(class) = class_of(block.capacity()) {
            self.bytes += block.capacity();
            self.classes[class].push(block);
        }
    }

    /// Takes out the older half of a class, or all of it where that is one block.
    pub(super) fn take_older_half(&mut self, class: usize) -> Vec<Block> {
        let list = &mut self.classes[class];
        let taken: Vec<Block> = list.drain(..list.len().div_ceil(2)).collect();
        self.bytes -= taken.iter().map(|block| block.capacity()).sum::<usize>();
        taken
    }

    /// Moves to `taken` what was released at least `age_ms` before `now_ms`, until `wanted` bytes are there.
    pub(super) fn take_old(
        &mut self,
        now_ms: u32,
        age_ms: u32,
        wanted: usize,
        taken: &mut Vec<Block>,
    ) -> usize {
        let mut found = 0;
        for list in self.classes.iter_mut().rev() {
            let mut count = 0;
            for block in list.iter() {
                if found >= wanted || now_ms.wrapping_sub(block.released_ms) < age_ms {
                    break;
                }
                found += block.capacity();
                count += 1;
            }
            taken.extend(list.drain(..count));
        }
        self.bytes -= found;
        found
    }

    /// Adds the bytes of each class to `bytes`.
    pub(super) fn count_into(&self, bytes: &mut [usize]) {
        for (sum, list) in bytes.iter_mut().zip(&self.classes) {
            *sum += list.iter().map(|block| block.capacity()).sum::<usize>();
        }
    }
}

/// The lock, if nobody holds it at this moment.
///
/// Acquiring and releasing blocks never wait: there is always another list, or the system, to turn to. In a forked
/// child that also passes by locks which threads of the parent held, and which nobody will ever release.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The lock, waiting for it; in a process forked since `owner_pid` made it only for a moment, since its holder may
/// have stayed behind.
pub(super) fn lock<T>(mutex: &Mutex<T>, owner_pid: u32) -> Option<MutexGuard<'_, T>> {
    if let Some(guard) = try_lock(mutex) {
        return Some(guard);
    }
    if std::process::id() == owner_pid {
        return Some(mutex.lock().unwrap_or_else(PoisonError::into_inner));
    }
    for _ in 0..100 {
        std::thread::yield_now();
        if let Some(guard) = try_lock(mutex) {
            return Some(guard);
        }
    }
    None
}
