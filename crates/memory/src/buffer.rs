use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::ALIGNMENT;

/// An owned block of zeroed bytes on a cache-line boundary.
pub struct AlignedBuffer {
    pointer: NonNull<u8>,
    len: usize,
}

// SAFETY: the block is plain bytes owned by this value alone.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A block of `len` zero bytes, or `None` where the system has no memory for it.
    pub fn try_new(len: usize) -> Option<AlignedBuffer> {
        if len == 0 {
            return Some(AlignedBuffer { pointer: Self::dangling(), len });
        }
        let layout = Layout::from_size_align(len, ALIGNMENT).ok()?;
        // SAFETY: the layout has a size above zero.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(AlignedBuffer { pointer, len })
    }

    /// A block of `len` zero bytes.
    ///
    /// # Panics
    /// Where the system has no memory for it.
    pub fn new(len: usize) -> AlignedBuffer {
        match Self::try_new(len) {
            Some(buffer) => buffer,
            None => panic!("no memory for a buffer of {len} bytes"),
        }
    }

    fn dangling() -> NonNull<u8> {
        NonNull::<AlignedByte>::dangling().cast()
    }

    /// Bytes in the block.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the block has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.pointer.as_ptr()
    }

    /// The first byte, for writing.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the block holds len initialised bytes, borrowed from self.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }

    /// The bytes, for writing.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

#[repr(align(64))]
struct AlignedByte;

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in try_new with this very layout, which was valid there.
            unsafe { dealloc(self.pointer.as_ptr(), Layout::from_size_align_unchecked(self.len, ALIGNMENT)) }
        }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_zeroed_and_writable() {
        for len in [0, 1, 63, 64, 65, 4097] {
            let mut buffer = AlignedBuffer::new(len);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert!(buffer.as_slice().iter().all(|&byte| byte == 0));
            buffer.as_mut_slice().fill(7);
            assert_eq!(buffer.as_slice(), vec![7; len]);
        }
        assert!(AlignedBuffer::try_new(usize::MAX / 2).is_none());
    }
}
