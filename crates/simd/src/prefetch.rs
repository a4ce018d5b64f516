//! Memory asked for before it is read.

/// Bytes of a cache line.
const LINE: usize = 64;

/// How far ahead of what is read lines are asked for. The core's own prefetching stops at the end of each page of 4 KiB;
/// asked across it, gray of a 4K frame of RGBA took a third less time. From 256 to 1024 bytes do about the same.
const AHEAD: usize = 512;

/// Has the cache lines asked for that will be read some hundred bytes from now, one for each 64 of `bytes`.
#[inline(always)]
pub fn prefetch_ahead(from: *const u8, bytes: usize) {
    for offset in (0..bytes).step_by(LINE) {
        prefetch(from.wrapping_add(AHEAD + offset));
    }
}

/// Has a cache line asked for, wherever it is.
#[inline(always)]
pub fn prefetch(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch does not access memory, and every x86-64 has the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
