//! Free blocks, by class, oldest first.

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
