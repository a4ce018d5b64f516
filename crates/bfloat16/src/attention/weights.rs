//! Scores become weights: `2^(scaled score - the row's largest)`, not divided by their sum yet.

use crate::powers::exp2;
use vedette_simd::{Isa, Simd, dispatch, round_to_bf16};

/// Values that rows of scores have room for a multiple of: the widest vector.
pub(super) const ROOM: usize = 16;

/// Turns a row of `n` scores, which `scale` brings to units of ln 2, into weights rounded to bfloat16, followed by zeros up
/// to `len`; returns the sum of the weights.
///
/// # Safety
/// `scores` is readable for `n` values and writable for as many rounded up to [`ROOM`], `to` writable for `len`.
pub(super) unsafe fn weigh(
    isa: Isa,
    scores: *mut f32,
    (n, scale): (usize, f32),
    to: *mut u16,
    len: usize,
) -> f32 {
    // SAFETY: as granted by the caller.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if isa.has_bf16() {
            return x86::weigh(scores, (n, scale), to, len);
        }
        // What stands behind the last score weighs nothing, so that all vectors are whole.
        let whole = n.next_multiple_of(ROOM);
        for i in 0..whole {
            let score = if i < n { scores.add(i).read() * scale } else { f32::NEG_INFINITY };
            scores.add(i).write(score);
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// `2^r` on [0, 1] within 3e-6, by a least-maximum fit of the relative error.
    const POWER: [f32; 5] = [1.000_002_6, 0.693_003_83, 0.241_442_75, 0.052_011_46, 0.013_534_168];

    /// Scores of several vectors that are in flight at once.
    const AT_ONCE: usize = 64;

    /// # Safety
    /// As for [`super::weigh`], and the CPU has AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn weigh(
        scores: *const f32,
        (n, scale): (usize, f32),
        to: *mut u16,
        len: usize,
    ) -> f32 {
        let scale = _mm512_set1_ps(scale);
        let lowest = _mm512_set1_ps(f32::NEG_INFINITY);
        let lanes = |at: usize| ((1u32 << n.saturating_sub(at).min(16)) - 1) as __mmask16;
        let scaled = |at: usize| {
            // SAFETY: masked lanes are not read.
            unsafe { _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes(at), scores.wrapping_add(at)), scale) }
        };
        let whole = n / AT_ONCE * AT_ONCE;
        let mut peaks = [lowest; 4];
        let mut sums = [_mm512_setzero_ps(); 4];
        // SAFETY: scores below n are read, weights below `len` written.
        unsafe {
            for at in (0..whole).step_by(AT_ONCE) {
                for (i, peak) in peaks.iter_mut().enumerate() {
                    // The first operand is passed over where it is no number; its exponential below is none either.
                    *peak =
                        _mm512_max_ps(_mm512_mul_ps(_mm512_loadu_ps(scores.add(at + i * 16)), scale), *peak);
                }
            }
            for at in (whole..n).step_by(16) {
                peaks[0] = _mm512_mask_max_ps(peaks[0], lanes(at), scaled(at), peaks[0]);
            }
            let peaks = _mm512_max_ps(_mm512_max_ps(peaks[0], peaks[1]), _mm512_max_ps(peaks[2], peaks[3]));
            let top = _mm512_set1_ps(_mm512_reduce_max_ps(peaks));
            for at in (0..whole).step_by(AT_ONCE) {
                let power =
                    |i: usize| exp2(_mm512_fmsub_ps(_mm512_loadu_ps(scores.add(at + i * 16)), scale, top));
                let powers = [power(0), power(1), power(2), power(3)];
                for (sum, power) in sums.iter_mut().zip(powers) {
                    *sum = _mm512_add_ps(*sum, power);
                }
                store(to.add(at), powers[0], powers[1], 32);
                store(to.add(at + 32), powers[2], powers[3], 32);
            }
            for at in (whole..len).step_by(32) {
                let power = |at: usize| {
                    let power = exp2(_mm512_sub_ps(scaled(at), top));
                    _mm512_maskz_mov_ps(lanes(at), power)
                };
                let (low, high) = (power(at), power(at + 16));
                sums[0] = _mm512_add_ps(sums[0], low);
                sums[1] = _mm512_add_ps(sums[1], high);
                store(to.add(at), low, high, len - at);
            }
            let sums = [_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])];
            _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
        }
    }

    /// Stores `count` of the values, at most all, rounded.
    ///
    /// # Safety
    /// So many are writable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn store(to: *mut u16, low: __m512, high: __m512, count: usize) {
        let lanes = ((1u64 << count.min(32)) - 1) as __mmask32;
        // SAFETY: as granted by the caller.
        unsafe {
            let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_mask_storeu_epi16(to.cast(), lanes, both);
        }
    }

    /// `2^x` for `x` up to 127; NaN stays NaN.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn exp2(x: __m512) -> __m512 {
        // What is above the next whole number below, which scaling takes for the exponent.
        let r = _mm512_reduce_ps::<0x09>(x);
        let mut y = _mm512_set1_ps(POWER[4]);
        for c in [POWER[3], POWER[2], POWER[1], POWER[0]] {
            y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(c));
        }
        _mm512_scalef_ps(y, x)
    }
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
                let sum = unsafe { weigh(isa, made.as_mut_ptr(), (n, 1.0), weights.as_mut_ptr(), n + 4) };
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
    fn any_scale_brings_scores_to_exponents() {
        for isa in Isa::available() {
            for (scale, n) in [(-0.5f32, 70), (0.0, 20), (3.0, 129)] {
                let scores: Vec<f32> = (0..n).map(|i| ((i * 31) % 67) as f32 * 0.1 - 3.0).collect();
                let (mut made, mut weights) = (scores.clone(), vec![9u16; n + 3]);
                made.resize(n.next_multiple_of(ROOM), 7.0);
                // SAFETY: the vectors have that many values.
                let sum = unsafe { weigh(isa, made.as_mut_ptr(), (n, scale), weights.as_mut_ptr(), n + 2) };
                let exponents: Vec<f64> = scores.iter().map(|&x| f64::from(x * scale)).collect();
                let peak = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let exact: f64 = exponents.iter().map(|x| (x - peak).exp2()).sum();
                assert!((f64::from(sum) - exact).abs() <= 2e-5 * exact, "{} {scale}", isa.name());
                assert_eq!(weights[n..], [0, 0, 9]);
            }
        }
    }

    #[test]
    fn what_is_masked_weighs_nothing() {
        for isa in Isa::available() {
            let mut scores = vec![f32::NEG_INFINITY; 80];
            (scores[3], scores[70]) = (1.0, 2.0);
            let mut weights = [7u16; 80];
            // SAFETY: eighty values each.
            let sum = unsafe { weigh(isa, scores.as_mut_ptr(), (80, 1.0), weights.as_mut_ptr(), 80) };
            assert!((sum - 1.5).abs() < 2e-5, "{} {sum}", isa.name());
            assert!(weights.iter().enumerate().all(|(i, &weight)| (weight != 0) == (i == 3 || i == 70)));
        }
    }

    #[test]
    fn what_is_no_number_stays_so() {
        for isa in Isa::available() {
            let mut scores = vec![1.0f32; 48];
            scores[17] = f32::NAN;
            let mut weights = [0u16; 40];
            // SAFETY: forty values each, and room for whole vectors.
            let sum = unsafe { weigh(isa, scores.as_mut_ptr(), (40, 1.0), weights.as_mut_ptr(), 40) };
            assert!(sum.is_nan(), "{}", isa.name());
        }
    }
}
