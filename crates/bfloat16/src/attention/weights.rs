//! Scores become weights: `2^(score - the row's largest)`, not divided by their sum yet.

use crate::powers::exp2;
use vedette_simd::{Isa, Simd, dispatch, round_to_bf16};

/// Values that rows of scores have room for a multiple of: the widest vector.
pub(super) const ROOM: usize = 16;

/// Turns a row of `n` scores, in units of ln 2, into weights rounded to bfloat16, followed by zeros up to `len`; returns
/// the sum of the weights.
///
/// # Safety
/// `scores` is readable for `n` values and writable for as many rounded up to [`ROOM`], `to` writable for `len`.
pub(super) unsafe fn weigh(isa: Isa, scores: *mut f32, n: usize, to: *mut u16, len: usize) -> f32 {
    // SAFETY: as granted by the caller.
    unsafe {
        // What stands behind the last score weighs nothing, so that all vectors are whole.
        let whole = n.next_multiple_of(ROOM);
        for i in n..whole {
            scores.add(i).write(f32::NEG_INFINITY);
        }
        let sum = dispatch!(isa, S => exponentials::<S>(scores, whole));
        round_to_bf16(isa, scores, n, to);
        to.add(n).write_bytes(0, len - n);
        sum
    }
}

/// # Safety
/// `scores` is readable and writable for `n` values, which are whole vectors.
#[inline(always)]
unsafe fn exponentials<S: Simd>(scores: *mut f32, n: usize) -> f32 {
    let low = S::splat(f32::NEG_INFINITY);
    let (mut peaks, mut sums) = ([low; 2], [S::splat(0.0); 2]);
    let pairs = n / (2 * S::LANES) * (2 * S::LANES);
    // SAFETY: every access is below n.
    unsafe {
        for i in (0..pairs).step_by(2 * S::LANES) {
            for (j, peak) in peaks.iter_mut().enumerate() {
                // The first operand is passed over where it is no number; its exponential below is none either.
                *peak = S::max(S::load(scores.add(i + j * S::LANES)), *peak);
            }
        }
        if pairs < n {
            peaks[0] = S::max(S::load(scores.add(pairs)), peaks[0]);
        }
        let top = S::splat(S::max_lane(S::max(peaks[0], peaks[1])));
        // Compiled apart it would lack the level's instructions.
        let power = std::convert::identity(
            #[inline(always)]
            |i: usize| {
                let at = scores.add(i);
                let power = exp2::<S>(S::sub(S::load(at), top));
                S::store(at, power);
                power
            },
        );
        for i in (0..pairs).step_by(2 * S::LANES) {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = S::add(*sum, power(i + j * S::LANES));
            }
        }
        if pairs < n {
            sums[0] = S::add(sums[0], power(pairs));
        }
    }
    S::sum(S::add(sums[0], sums[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_exponentials_at_every_level() {
        for isa in Isa::available() {
            for n in [1, 7, 16, 33, 100] {
                let scores: Vec<f32> = (0..n).map(|i| ((i * 7919) % 101) as f32 * 0.37 - 20.0).collect();
                let (mut made, mut weights) = (scores.clone(), vec![9u16; n + 5]);
                made.resize(n.next_multiple_of(ROOM), 7.0);
                // SAFETY: the vectors have that many values.
                let sum = unsafe { weigh(isa, made.as_mut_ptr(), n, weights.as_mut_ptr(), n + 4) };
                let peak = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exact: Vec<f64> = scores.iter().map(|x| f64::from(x - peak).exp2()).collect();
                for (x, y) in exact.iter().zip(&weights) {
                    let found = f64::from(vedette_simd::bf16_value(*y));
                    // Half a unit of 8 bits, and the error of the power.
                    assert!((found - x).abs() <= x * (2f64.powi(-8) + 1e-5), "{} {x} {found}", isa.name());
                }
                let total: f64 = exact.iter().sum();
                assert!((f64::from(sum) - total).abs() <= 2e-5 * total);
                assert_eq!(weights[n..], [0, 0, 0, 0, 9]);
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_so() {
        for isa in Isa::available() {
            let mut scores = vec![1.0f32; 48];
            scores[17] = f32::NAN;
            let mut weights = [0u16; 40];
            // SAFETY: forty values each, and room for whole vectors.
            let sum = unsafe { weigh(isa, scores.as_mut_ptr(), 40, weights.as_mut_ptr(), 40) };
            assert!(sum.is_nan(), "{}", isa.name());
        }
    }
}
