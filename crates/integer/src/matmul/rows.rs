//! Rows of float32, each quantized by itself over the range from its least to its greatest value, zero included.

use crate::at_level;
use vedette_simd::Isa;

/// How a row was quantized: `real = (q - zero_point) * scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct RowScale {
    /// The distance of neighbouring values: 0 where the row is zero, NaN where a value is not finite.
    pub scale: f32,
    /// What stands for zero.
    pub zero_point: i32,
}

const LANES: usize = 16;

/// Quantizes `n` values that lie `step` apart.
///
/// # Safety
/// The values are readable; `to` is writable for `n` bytes.
pub unsafe fn quantize_row(isa: Isa, from: *const f32, step: isize, n: usize, to: *mut u8) -> RowScale {
    if step != 1 {
        // SAFETY: as granted by the caller.
        return unsafe { quantize(n, |i| *from.offset(i as isize * step), to) };
    }
    // SAFETY: as granted by the caller.
    at_level!(isa, unsafe {
        quantize(
            n,
            #[inline(always)]
            |i| *from.add(i),
            to,
        )
    })
}

/// # Safety
/// `value(i)` may be called for `i` below `n`; `to` is writable for `n` bytes.
#[inline(always)]
unsafe fn quantize(n: usize, value: impl Fn(usize) -> f32, to: *mut u8) -> RowScale {
    // Lanes of their own let the compiler use vectors: minima and maxima do not depend on the order.
    let (mut least, mut greatest, mut finite) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for i in 0..LANES {
            let x = value(start + i);
            least[i] = if x < least[i] { x } else { least[i] };
            greatest[i] = if x > greatest[i] { x } else { greatest[i] };
            // Zero, unless x is infinite or no number.
            finite[i] += x * 0.0;
        }
    }
    for i in whole..n {
        let x = value(i);
        least[0] = if x < least[0] { x } else { least[0] };
        greatest[0] = if x > greatest[0] { x } else { greatest[0] };
        finite[0] += x * 0.0;
    }
    let least = least.into_iter().fold(0.0, |a: f32, b| if b < a { b } else { a });
    let greatest = greatest.into_iter().fold(0.0, |a: f32, b| if b > a { b } else { a });
    // Divided first, as the difference may overflow.
    let scale = greatest / 255.0 - least / 255.0;
    let inverse = 1.0 / scale;
    if finite.into_iter().sum::<f32>().is_nan() || !inverse.is_finite() {
        // SAFETY: as granted by the caller.
        unsafe { to.write_bytes(0, n) };
        let scale = if finite.into_iter().sum::<f32>().is_nan() { f32::NAN } else { 0.0 };
        return RowScale { scale, zero_point: 0 };
    }
    let zero_point = (-least * inverse).round_ties_even().clamp(0.0, 255.0);
    for i in 0..n {
        let q = (value(i) * inverse).round_ties_even() + zero_point;
        let q = if q > 0.0 { q } else { 0.0 };
        let q = if q < 255.0 { q } else { 255.0 };
        // SAFETY: q is an integer from 0 to 255.
        unsafe { *to.add(i) = q.to_int_unchecked::<i32>() as u8 };
    }
    RowScale { scale, zero_point: zero_point as i32 }
}
