use std::num::NonZeroU64;
use std::ops::{Deref, DerefMut};
use std::sync::Weak;

use super::Violation;
use super::shared::Shared;
use crate::AlignedBuffer;

/// A block of a pool, in use or free. Boxed, since it moves between lists far more often than it is looked into.
pub(super) type Block = Box<Memory>;

pub(super) struct Memory {
    pub(super) buffer: AlignedBuffer,
    /// Set once: counting it up and down at every acquisition would have all threads write to one cache line.
    pub(super) home: Weak<Shared>,
    pub(super) released_ms: u32,
}

impl Memory {
    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }
}

/// A block in use. It goes back to its pool, or to the system where the pool is gone, when this is dropped, on
/// whatever thread that happens.
pub struct Lease {
    block: Option<Block>,
    pointer: *mut u8,
    len: usize,
    pub(super) record: Option<NonZeroU64>,
}

// SAFETY: the block is plain bytes owned by this value alone.
unsafe impl Send for Lease {}
// SAFETY: shared access only reads.
unsafe impl Sync for Lease {}

impl Lease {
    /// `len` is at most the block's capacity.
    pub(super) fn new(block: Block, len: usize) -> Lease {
        assert!(len <= block.capacity());
        Lease { pointer: block.buffer.pointer().as_ptr(), len, block: Some(block), record: None }
    }

    /// Bytes that were asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes were asked for.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes the block really has.
    pub fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.capacity())
    }

    /// The first byte. It stays where it is until the lease ends.
    pub fn as_ptr(&self) -> *const u8 {
        self.pointer
    }

    /// The first byte, for those who write without a reference, such as arrays of other languages. They answer for
    /// there being no reference to the bytes meanwhile.
    pub fn as_raw(&self) -> *mut u8 {
        self.pointer
    }

    /// Ends the lease and says what the debug mode found wrong with the block.
    pub fn release(mut self) -> Option<Violation> {
        self.finish()
    }

    fn finish(&mut self) -> Option<Violation> {
        let block = self.block.take()?;
        // The pool is held until the block is in its list, and nothing is locked when this lets go of it.
        let home = block.home.upgrade()?;
        home.put(block, self.len, self.record)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block holds at least len initialised bytes at the pointer for as long as self lives.
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} of {} bytes)", self.len, self.capacity())
    }
}
