//! Rows of float32, each quantized by itself over the range from its least to its greatest value, zero included.

use crate::lanes::Lanes;
use vedette_simd::{Isa, Simd, dispatch};

/// How a row was quantized: `real = (q - zero_point) * scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct RowScale {
    /// The distance of neighbouring values: 0 where the row is zero, NaN where a value is not finite.
    pub scale: f32,
    /// What stands for zero.
    pub zero_point: i32,
}

/// Lanes of the widest vector.
const WIDEST: usize = 16;

/// Quantizes `n` values that lie `step` apart.
///
/// # Safety
/// The values are readable; `to` is writable for `n` bytes.
pub(super) unsafe fn quantize_row(
    isa: Isa,
    from: *const f32,
    step: isize,
    n: usize,
    to: *mut u8,
) -> RowScale {
    // SAFETY: as granted by the caller.
    dispatch!(isa, S => unsafe {
        match step {
            1 => quantize::<S, true>(from, step, n, to),
            _ => quantize::<S, false>(from, step, n, to),
        }
    })
}

/// Up to a vector of values; the other lanes are zero.
///
/// # Safety
/// `lanes` values are readable.
#[inline(always)]
unsafe fn load<S: Simd, const NEAR: bool>(from: *const f32, step: isize, lanes: usize) -> S::V {
    // SAFETY: as granted by the caller; the array holds the widest vector.
    unsafe {
        if NEAR {
            return if lanes == S::LANES { S::load(from) } else { S::load_partial(from, lanes) };
        }
        let mut values = [0f32; WIDEST];
        for (i, value) in values.iter_mut().enumerate().take(lanes) {
            *value = *from.offset(i as isize * step);
        }
        S::load(values.as_ptr())
    }
}

/// # Safety
/// As for [`quantize_row`]; `step` is 1 where `NEAR`.
#[inline(always)]
unsafe fn quantize<S: Lanes, const NEAR: bool>(
    from: *const f32,
    step: isize,
    n: usize,
    to: *mut u8,
) -> RowScale {
    let zero = S::splat(0.0);
    // Two of each, as every one waits for the one before it.
    let (mut least, mut greatest, mut finite) = ([zero; 2], [zero; 2], [zero; 2]);
    for i in (0..n).step_by(S::LANES) {
        let turn = i / S::LANES % 2;
        // SAFETY: values below n.
        let x = unsafe { load::<S, NEAR>(from.offset(i as isize * step), step, S::LANES.min(n - i)) };
        // The second operand is what passes where a value is no number.
        least[turn] = S::min(x, least[turn]);
        greatest[turn] = S::max(x, greatest[turn]);
        // Zero, unless x is infinite or no number.
        finite[turn] = S::add(finite[turn], S::mul(x, zero));
    }
    let least = -S::max_lane(S::sub(zero, S::min(least[0], least[1])));
    let greatest = S::max_lane(S::max(greatest[0], greatest[1]));
    let is_finite = !S::sum(S::add(finite[0], finite[1])).is_nan();
    // Divided first, as the difference may overflow.
    let scale = greatest / 255.0 - least / 255.0;
    let inverse = 1.0 / scale;
    if !is_finite || !inverse.is_finite() {
        // SAFETY: as granted by the caller.
        unsafe { to.write_bytes(0, n) };
        return RowScale { scale: if is_finite { 0.0 } else { f32::NAN }, zero_point: 0 };
    }
    let zero_point = (-least * inverse).round_ties_even().clamp(0.0, 255.0);
    let (factor, shift, most) = (S::splat(inverse), S::splat(zero_point), S::splat(255.0));
    for i in (0..n).step_by(S::LANES) {
        let lanes = S::LANES.min(n - i);
        // SAFETY: values and bytes below n.
        unsafe {
            let x = load::<S, NEAR>(from.offset(i as isize * step), step, lanes);
            let q = S::add(S::round(S::mul(x, factor)), shift);
            let q = S::min(most, S::max(zero, q));
            if lanes == S::LANES {
                S::store_bytes(to.add(i), q);
            } else {
                let mut bytes = [0u8; WIDEST];
                S::store_bytes(bytes.as_mut_ptr(), q);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.add(i), lanes);
            }
        }
    }
    RowScale { scale, zero_point: zero_point as i32 }
}
