//! What the values of a tensor are: float32, or bfloat16 where whoever wrote them has rounded them already.

use crate::conv::interleave;
use vedette_simd::{Isa, Runs, bf16_bits, copy_runs, round_runs_to_bf16, round_to_bf16};

/// How values lie in memory: as they are, or rounded already, where nobody reads them but products that would round them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Four bytes each.
    Float32,
    /// Two bytes each.
    Bfloat16,
}

impl Values {
    /// Bytes of a value.
    const fn bytes(self) -> usize {
        match self {
            Values::Float32 => size_of::<f32>(),
            Values::Bfloat16 => size_of::<u16>(),
        }
    }

    /// The place so many values further on.
    pub(crate) fn at<T>(self, from: *const T, values: isize) -> *const T {
        from.cast::<u8>().wrapping_offset(values * self.bytes() as isize).cast()
    }

    /// Writes `n` values of these from float32.
    ///
    /// # Safety
    /// `from` is readable and `to` writable for so many values.
    pub(crate) unsafe fn write(self, isa: Isa, from: *const f32, n: usize, to: *mut u8) {
        // SAFETY: as granted by the caller.
        unsafe {
            match self {
                Values::Float32 => to.cast::<f32>().copy_from_nonoverlapping(from, n),
                Values::Bfloat16 => round_to_bf16(isa, from, n, to.cast()),
            }
        }
    }
}

/// A value as kernels read it.
pub(crate) trait Value: Copy {
    /// It as the bits of a bfloat16.
    fn bits(self) -> u16;

    /// The same values, if they are rounded as they are.
    fn rounded(values: *const Self) -> Option<*const u16>;

    /// Three planes as pixels of four values, the last of them zero.
    ///
    /// # Safety
    /// The planes are readable for `count` values, `to` is writable for four times as many and lies apart.
    unsafe fn interleave(isa: Isa, planes: [*const Self; 3], to: *mut u16, count: usize);

    /// Runs of values, rounded.
    ///
    /// # Safety
    /// Every run is readable from `from` on and writable from `to` on; those read and those written do not overlap.
    unsafe fn copy_runs(isa: Isa, from: *const Self, to: *mut u16, runs: Runs);
}

impl Value for f32 {
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
impl Value for u16 {
    #[inline(always)]
    fn bits(self) -> u16 {
        self
    }

    #[inline(always)]
    fn rounded(values: *const u16) -> Option<*const u16> {
        Some(values)
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
