//! Memory asked for before it is read.

use std::ops::Range;

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

/// Has a cache line asked for that is wanted later than the next: it would be gone from L1 by then.
#[inline(always)]
pub fn prefetch_to_l2(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Orders what [`Simd::stream`](crate::Simd::stream) stored before all later stores of this thread.
#[inline(always)]
pub fn end_of_stream() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Memory of which some lines are asked for in every step of other work: `N` pieces side by side.
pub struct Fetch<const N: usize> {
    at: [*const u8; N],
    lines: Range<usize>,
    at_once: usize,
}

impl<const N: usize> Fetch<N> {
    /// Nothing to ask for.
    pub const NOTHING: Fetch<N> = Fetch { at: [std::ptr::null(); N], lines: 0..0, at_once: 0 };

    /// So many bytes from each place on, within so many steps.
    #[inline(always)]
    pub fn new(at: [*const u8; N], bytes: usize, steps: usize) -> Fetch<N> {
        let lines = bytes.div_ceil(LINE);
        Fetch { at, lines: 0..lines, at_once: lines.div_ceil(steps.max(1)) }
    }

    /// Asks for the next lines.
    #[inline(always)]
    pub fn step(&mut self) {
        for line in self.lines.by_ref().take(self.at_once) {
            for place in self.at {
                prefetch_to_l2(place.wrapping_add(line * LINE));
            }
        }
    }
}
