//! What the handles of a pool, its blocks and the threads' magazines share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::block::{Block, Memory};
use super::cache::Cache;
use super::class::{CLASSES, class_of, class_size};
use super::guard::{Guard, TAIL};
use super::leaks::LeakTracker;
use super::magazine::{self, Magazine};
use super::stats::{Counters, Stats};
use super::{Options, PoolError, Violation};
use crate::AlignedBuffer;
use crate::buffer::page_size;
use crate::clock::now_ms;
use crate::lock::{lock, try_lock};

/// Releases into one list between looks for old blocks.
const PUTS_PER_SWEEP: u32 = 256;

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) owner_pid: u32,
    pub(super) counters: Counters,
    pub(super) leaks: LeakTracker,
    pub(super) guard: Option<Guard>,
    lists: Box<[Padded<Mutex<Cache>>]>,
    magazines: Mutex<Vec<Arc<Magazine>>>,
    /// Free blocks beyond the largest class.
    large: Mutex<Vec<Block>>,
    swept_ms: AtomicU32,
}

/// Keeps neighbours off a cache line, and off the next one, which x86 fetches along.
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

impl Shared {
    pub(super) fn new(options: Options) -> Shared {
        let owner_pid = std::process::id();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Shared {
            owner_pid,
            counters: Counters::new(),
            leaks: LeakTracker::new(options.leak_tracking, owner_pid),
            guard: options.debug.then(|| Guard::new(owner_pid)),
            lists: (0..threads.next_power_of_two().min(8))
                .map(|_| Padded(Mutex::new(Cache::new())))
                .collect(),
            magazines: Mutex::default(),
            large: Mutex::default(),
            swept_ms: AtomicU32::new(now_ms()),
            options,
        }
    }

    pub(super) fn take(self: &Arc<Self>, len: usize) -> Result<Block, PoolError> {
        let Some(guard) = &self.guard else { return self.take_block(len) };
        let mut block = self.take_block(len.saturating_add(TAIL))?;
        guard.prepare(&mut block, len);
        Ok(block)
    }

    fn take_block(self: &Arc<Self>, len: usize) -> Result<Block, PoolError> {
        let Some(class) = class_of(len) else { return self.take_large(len) };
        let size = class_size(class);
        if size <= magazine::LARGEST_BLOCK {
            let found = magazine::with(self, |magazine| {
                let block = try_lock(&magazine.cache)?.pop(class)?;
                magazine.count_hit(size);
                Some(block)
            });
            if let Some(Some(block)) = found {
                self.counters.begin(size);
                return Ok(block);
            }
        }
        if let Some(block) = self.nearest_lists().find_map(|list| try_lock(list)?.pop(class)) {
            self.counters.count_hit(size);
            self.counters.begin(size);
            return Ok(block);
        }
        self.take_fresh(size, len)
    }

    fn take_large(self: &Arc<Self>, len: usize) -> Result<Block, PoolError> {
        // Whole pages of what was asked for: a larger block is taken only where an eighth at most is wasted.
        let size =
            len.checked_next_multiple_of(page_size()).ok_or(PoolError::OutOfMemory { requested: len })?;
        let found = try_lock(&self.large).and_then(|mut blocks| {
            let fitting = blocks
                .iter()
                .enumerate()
                .filter(|(_, block)| (size..=size.saturating_add(size / 8)).contains(&block.capacity()));
            let (place, _) = fitting.min_by_key(|(_, block)| block.capacity())?;
            Some(blocks.swap_remove(place))
        });
        let Some(block) = found else { return self.take_fresh(size, len) };
        self.counters.count_hit(block.capacity());
        self.counters.begin(block.capacity());
        Ok(block)
    }

    #[cold]
    fn take_fresh(self: &Arc<Self>, size: usize, len: usize) -> Result<Block, PoolError> {
        self.reserve(size)?;
        let buffer = AlignedBuffer::try_new(size).or_else(|| {
            self.trim(Duration::ZERO);
            AlignedBuffer::try_new(size)
        });
        let Some(buffer) = buffer else {
            self.counters.unreserve(size);
            return Err(PoolError::OutOfMemory { requested: len });
        };
        self.counters.count_miss(class_slot(size), size, buffer.is_huge());
        self.counters.begin(size);
        Ok(Box::new(Memory { buffer, home: Arc::downgrade(self), released_ms: 0 }))
    }

    /// Makes room for `size` more bytes, at the cost of free blocks where the capacity is reached.
    fn reserve(&self, size: usize) -> Result<(), PoolError> {
        let capacity = self.options.capacity.unwrap_or(usize::MAX);
        loop {
            let Err(held) = self.counters.reserve(size, capacity) else { return Ok(()) };
            let missing = size.saturating_sub(capacity - held.min(capacity));
            if size > capacity || self.give_back(0, missing, true) == 0 {
                let in_use = self.counters.in_use();
                return Err(PoolError::OverCapacity { requested: size, in_use, capacity });
            }
        }
    }

    pub(super) fn put(
        self: &Arc<Self>,
        block: Block,
        len: usize,
        record: Option<std::num::NonZeroU64>,
    ) -> Option<Violation> {
        if let Some(id) = record {
            self.leaks.remove(id);
        }
        self.counters.end(block.capacity());
        let Some(guard) = &self.guard else {
            self.put_block(block);
            return None;
        };
        let (leaving, violation) = guard.retire(block, len);
        for block in leaving {
            self.put_block(block);
        }
        violation
    }

    fn put_block(self: &Arc<Self>, mut block: Block) {
        block.released_ms = now_ms();
        let size = block.capacity();
        let Some(class) = class_of(size) else {
            match try_lock(&self.large) {
                Some(mut blocks) => blocks.push(block),
                None => self.discard(vec![block]),
            }
            return self.sweep_sometimes();
        };
        if size > magazine::LARGEST_BLOCK {
            return self.put_in_list(block);
        }
        let mut left = Some(block);
        let mut spilled = Vec::new();
        let mut sweep = false;
        magazine::with(self, |magazine| {
            let Some(mut cache) = try_lock(&magazine.cache) else { return };
            if cache.bytes() + size > magazine::MOST_BYTES {
                spilled = cache.take_older_half(class);
            }
            if cache.bytes() + size <= magazine::MOST_BYTES
                && let Some(block) = left.take()
            {
                cache.push(block);
                cache.puts = cache.puts.wrapping_add(1);
                sweep = cache.puts.is_multiple_of(PUTS_PER_SWEEP);
            }
        });
        for block in spilled.into_iter().chain(left) {
            self.put_in_list(block);
        }
        if sweep {
            self.sweep_sometimes();
        }
    }

    fn put_in_list(&self, block: Block) {
        let mut left = Some(block);
        let mut sweep = false;
        for list in self.nearest_lists() {
            let Some(mut cache) = try_lock(list) else { continue };
            if let Some(block) = left.take() {
                cache.push(block);
            }
            cache.puts = cache.puts.wrapping_add(1);
            sweep = cache.puts.is_multiple_of(PUTS_PER_SWEEP);
            break;
        }
        if let Some(block) = left {
            self.discard(vec![block]);
        }
        if sweep {
            self.sweep_sometimes();
        }
    }

    /// Every shared list, this thread's own first.
    fn nearest_lists(&self) -> impl Iterator<Item = &Mutex<Cache>> {
        let first = magazine::thread_number();
        (0..self.lists.len()).map(move |step| &self.lists[(first + step) % self.lists.len()].0)
    }

    /// Gives back what has been free too long, at most four times in that span.
    #[cold]
    fn sweep_sometimes(&self) {
        let age_ms = milliseconds(self.options.trim_after);
        let (now, swept) = (now_ms(), self.swept_ms.load(Ordering::Relaxed));
        if now.wrapping_sub(swept) > age_ms / 4
            && self.swept_ms.compare_exchange(swept, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.give_back(age_ms, usize::MAX, false);
        }
    }

    pub(super) fn trim(&self, older_than: Duration) -> usize {
        self.give_back(milliseconds(older_than), usize::MAX, true)
    }

    /// Gives free blocks of that age back to the system until `wanted` bytes are gone; returns the bytes.
    ///
    /// Unless `waiting`, lists that are in use at this moment are passed by.
    fn give_back(&self, age_ms: u32, wanted: usize, waiting: bool) -> usize {
        let now = now_ms();
        let mut taken = Vec::new();
        let mut found = 0;
        if age_ms == 0
            && waiting
            && let Some(guard) = &self.guard
        {
            for block in guard.dismiss(wanted) {
                found += block.capacity();
                taken.push(block);
            }
        }
        let mut look_into = |cache: &Mutex<Cache>| {
            if found < wanted
                && let Some(mut cache) = if waiting { lock(cache, self.owner_pid) } else { try_lock(cache) }
            {
                found += cache.take_old(now, age_ms, wanted - found, &mut taken);
            }
        };
        self.lists.iter().for_each(|list| look_into(&list.0));
        if let Some(magazines) = lock(&self.magazines, self.owner_pid) {
            magazines.iter().for_each(|magazine| look_into(&magazine.cache));
        }
        if let Some(mut blocks) =
            if waiting { lock(&self.large, self.owner_pid) } else { try_lock(&self.large) }
        {
            let old = blocks.extract_if(.., |block| {
                let leaves = found < wanted && now.wrapping_sub(block.released_ms) >= age_ms;
                if leaves {
                    found += block.capacity();
                }
                leaves
            });
            taken.extend(old);
        }
        self.discard(taken);
        found
    }

    fn discard(&self, blocks: Vec<Block>) {
        for block in blocks {
            let (size, huge) = (block.capacity(), block.buffer.is_huge());
            // The memory goes before it is counted as gone, so that the pool never holds more than it says.
            drop(block);
            self.counters.count_return(class_slot(size), size, huge);
        }
    }

    pub(super) fn open_magazine(&self, magazine: &Arc<Magazine>) -> Option<()> {
        lock(&self.magazines, self.owner_pid)?.push(Arc::clone(magazine));
        Some(())
    }

    /// Takes over what the magazine of an ending thread holds.
    pub(super) fn close_magazine(&self, magazine: &Arc<Magazine>) {
        if let Some(mut magazines) = lock(&self.magazines, self.owner_pid) {
            magazines.retain(|other| !Arc::ptr_eq(other, magazine));
        }
        let (hits, bytes) = magazine.counts();
        self.counters.take_over(hits, bytes);
        let mut blocks = Vec::new();
        if let Some(mut cache) = lock(&magazine.cache, self.owner_pid) {
            cache.take_old(now_ms(), 0, usize::MAX, &mut blocks);
        }
        for block in blocks {
            self.put_in_list(block);
        }
    }

    pub(super) fn reset_peak(&self) {
        self.counters.reset_peak();
    }

    pub(super) fn stats(&self) -> Stats {
        let mut free = [0; CLASSES + 1];
        let (mut hits, mut bytes) = (0, 0);
        for list in &self.lists {
            if let Some(cache) = lock(&list.0, self.owner_pid) {
                cache.count_into(&mut free);
            }
        }
        if let Some(magazines) = lock(&self.magazines, self.owner_pid) {
            for magazine in magazines.iter() {
                let counts = magazine.counts();
                hits += counts.0;
                bytes += counts.1;
                if let Some(cache) = lock(&magazine.cache, self.owner_pid) {
                    cache.count_into(&mut free);
                }
            }
        }
        if let Some(blocks) = lock(&self.large, self.owner_pid) {
            free[CLASSES] += blocks.iter().map(|block| block.capacity()).sum::<usize>();
        }
        if let Some(guard) = &self.guard {
            guard.count_into(&mut free, class_slot);
        }
        self.counters.stats(&self.options, hits, bytes, &free)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Threads keep their magazines until they look for one again; their blocks go now.
        let magazines = std::mem::take(&mut self.magazines).into_inner().unwrap_or_default();
        for magazine in magazines {
            let mut blocks = Vec::new();
            if let Some(mut cache) = lock(&magazine.cache, self.owner_pid) {
                cache.take_old(0, 0, usize::MAX, &mut blocks);
            }
        }
    }
}

/// Where the bytes of a block of that size are counted: its class, or the last place where it has none.
fn class_slot(size: usize) -> usize {
    class_of(size).unwrap_or(CLASSES)
}

fn milliseconds(age: Duration) -> u32 {
    // Half the clock's range, so that an age is never taken for a time to come.
    age.as_millis().min(u128::from(u32::MAX / 2)) as u32
}
