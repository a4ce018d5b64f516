use std::ptr::NonNull;

use memmap2::MmapMut;

use crate::{ALIGNMENT, AlignedBuffer};

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

/// A block of initialised bytes straight from the system, zero where nobody has written.
///
/// It starts at a multiple of [`ALIGNMENT`], of the page size from [`MAP_THRESHOLD`] on, and of [`HUGE_PAGE`] where
/// it could hold a huge page.
pub(crate) struct Region {
    pointer: NonNull<u8>,
    len: usize,
    huge: bool,
    _backing: Backing,
}

enum Backing {
    Heap { _buffer: AlignedBuffer },
    Map { _map: MmapMut },
}

// SAFETY: the bytes belong to this value alone, and it gives them out only under the rules of references.
unsafe impl Send for Region {}
// SAFETY: as above; shared access only reads, or goes through a pointer whose user answers for it.
unsafe impl Sync for Region {}

impl Region {
    /// A block of `len` bytes, or `None` where the system has no memory for it.
    pub(crate) fn new(len: usize) -> Option<Region> {
        if len < MAP_THRESHOLD {
            let mut buffer = AlignedBuffer::try_new(len)?;
            let pointer = NonNull::new(buffer.as_mut_ptr())?;
            return Some(Region { pointer, len, huge: false, _backing: Backing::Heap { _buffer: buffer } });
        }
        // Address space is plentiful and untouched pages cost nothing, so alignment is bought by mapping more.
        let slack = if len >= HUGE_PAGE { HUGE_PAGE } else { 0 };
        let mut map = MmapMut::map_anon(len.checked_add(slack)?).ok()?;
        let offset = if slack > 0 { map.as_ptr().align_offset(HUGE_PAGE) } else { 0 };
        let pointer = NonNull::new(map.get_mut(offset..offset.checked_add(len)?)?.as_mut_ptr())?;
        let huge = slack > 0 && Self::advise_huge_pages(&map, offset, len);
        Some(Region { pointer, len, huge, _backing: Backing::Map { _map: map } })
    }

    /// Asks for huge pages and says whether the system agreed to try.
    fn advise_huge_pages(map: &MmapMut, offset: usize, len: usize) -> bool {
        #[cfg(target_os = "linux")]
        return map.advise_range(memmap2::Advice::HugePage, offset, len).is_ok();
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (map, offset, len);
            false
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_huge(&self) -> bool {
        self.huge
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: the backing holds len initialised bytes at the pointer for as long as self lives.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

// The pool promises to keep this alignment for every block.
const _: () = assert!(HUGE_PAGE.is_multiple_of(ALIGNMENT));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_aligned_zeroed_and_writable() {
        for len in
            [0, 1, 64, 4096, MAP_THRESHOLD - 1, MAP_THRESHOLD, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 5]
        {
            let mut region = Region::new(len).unwrap();
            let boundary = match len {
                HUGE_PAGE.. => HUGE_PAGE,
                MAP_THRESHOLD.. => page_size(),
                _ => ALIGNMENT,
            };
            assert_eq!(region.pointer().as_ptr() as usize % boundary, 0, "{len}");
            assert_eq!(region.len(), len);
            assert!(region.as_slice().iter().all(|&byte| byte == 0));
            region.as_mut_slice().fill(9);
            assert!(region.as_slice().iter().all(|&byte| byte == 9));
        }
        assert!(Region::new(usize::MAX / 2).is_none());
        assert!(Region::new(usize::MAX).is_none());
    }
}
