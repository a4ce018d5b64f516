//! What the values of a tensor are.

use vedette_simd::{Isa, round_to_bf16};

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
    pub(crate) const fn bytes(self) -> usize {
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
