//! What rows are read from: float32, or values that whoever wrote them has rounded already.

use crate::conv::interleave;
use vedette_simd::{Isa, Runs, bf16_bits, copy_runs, round_runs_to_bf16};

/// An element of an input.
pub(crate) trait Source: Copy {
    /// It as the bits of a bfloat16.
    fn bits(self) -> u16;

    /// The same elements, if they are rounded as they are.
    fn rounded(elements: *const Self) -> Option<*const u16>;

    /// Three planes as pixels of four values, the last of them zero.
    ///
    /// # Safety
    /// The planes are readable for `count` elements, `to` is writable for four times as many and lies apart.
    unsafe fn interleave(isa: Isa, planes: [*const Self; 3], to: *mut u16, count: usize);

    /// Runs of elements, rounded.
    ///
    /// # Safety
    /// Every run is readable from `from` on and writable from `to` on; those read and those written do not overlap.
    unsafe fn copy_runs(isa: Isa, from: *const Self, to: *mut u16, runs: Runs);
}

impl Source for f32 {
    #[inline(always)]
    fn bits(self) -> u16 {
        bf16_bits(self)
    }

    #[inline(always)]
    fn rounded(_: *const f32) -> Option<*const u16> {
        None
    }

    unsafe fn interleave(isa: Isa, planes: [*const f32; 3], to: *mut u16, count: usize) {
        // SAFETY: as granted by the caller.
        unsafe { interleave(isa, planes, to, count) };
    }

    #[inline(always)]
    unsafe fn copy_runs(isa: Isa, from: *const f32, to: *mut u16, runs: Runs) {
        // SAFETY: as granted by the caller.
        unsafe { round_runs_to_bf16(isa, from, to, runs) };
    }
}

/// The bits of a bfloat16.
impl Source for u16 {
    #[inline(always)]
    fn bits(self) -> u16 {
        self
    }

    #[inline(always)]
    fn rounded(elements: *const u16) -> Option<*const u16> {
        Some(elements)
    }

    unsafe fn interleave(_: Isa, planes: [*const u16; 3], to: *mut u16, count: usize) {
        for i in 0..count {
            // SAFETY: pixel i of every plane and of the output.
            unsafe {
                let [a, b, c] = planes.map(|plane| *plane.add(i));
                to.add(4 * i).cast::<[u16; 4]>().write_unaligned([a, b, c, 0]);
            }
        }
    }

    #[inline(always)]
    unsafe fn copy_runs(isa: Isa, from: *const u16, to: *mut u16, runs: Runs) {
        // SAFETY: as granted by the caller.
        unsafe { copy_runs(isa, from, to, runs) };
    }
}
