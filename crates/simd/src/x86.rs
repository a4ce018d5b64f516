use crate::vector::Simd;
use std::arch::x86_64::*;

/// Runs `f` compiled with AVX2, FMA and F16C.
///
/// # Safety
/// The CPU must have these features.
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,popcnt")]
#[inline]
pub unsafe fn call_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Runs `f` compiled with AVX-512 F, BW, DQ and VL.
///
/// # Safety
/// The CPU must have these features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,popcnt")]
#[inline]
pub unsafe fn call_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Runs `f` compiled with AVX-512 F, BW, DQ, VL and BF16.
///
/// # Safety
/// The CPU must have these features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,bmi1,bmi2,popcnt")]
#[inline]
pub unsafe fn call_avx512_bf16<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Eight lanes, AVX2 with FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;

/// Sixteen lanes, AVX-512.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

// A window over this table, taken at 8 - n, has its first n lanes set.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn mask8(n: usize) -> __m256i {
    debug_assert!(n <= 8);
    // SAFETY: 8 - n <= 8, so the 8 lanes read end within the 16 of the table; AVX is on inside dispatch.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - n.min(8)).cast()) }
}

// SAFETY (all blocks of both impls): values of these types are only used inside `dispatch!`, which checks the CPU.
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(x: f32) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: see the impl; the caller grants 8 readable values.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: see the impl; the caller grants 8 writable values.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, n: usize) -> __m256 {
        // SAFETY: see the impl; masked lanes are not read.
        unsafe { _mm256_maskload_ps(p, mask8(n)) }
    }
    #[inline(always)]
    unsafe fn stream(p: *mut f32, v: __m256) {
        // SAFETY: see the impl; the caller grants the alignment.
        unsafe { _mm256_stream_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: __m256, n: usize) {
        // SAFETY: see the impl; masked lanes are not written.
        unsafe { _mm256_maskstore_ps(p, mask8(n), v) }
    }
    #[inline(always)]
    fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(a: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(a: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn round(a: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn copysign(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
        }
    }
    #[inline(always)]
    fn exp2_int(n: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn scale_exp2(a: __m256, n: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe {
            // 2^n may be out of range where the product is not, so it is applied in two halves; the first is exact.
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            let power =
                |n| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))));
            _mm256_mul_ps(_mm256_mul_ps(a, power(half)), power(_mm256_sub_epi32(n, half)))
        }
    }
    #[inline(always)]
    fn select_lt(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
        // SAFETY: see the impl.
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn all_lt(a: __m256, b: __m256) -> bool {
        // SAFETY: see the impl.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) == 0xff }
    }
    #[inline(always)]
    fn sum(a: __m256) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }
    #[inline(always)]
    fn max_lane(a: __m256) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)))
        }
    }
}

#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(x: f32) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: see the impl; the caller grants 16 readable values.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: see the impl; the caller grants 16 writable values.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, n: usize) -> __m512 {
        // SAFETY: see the impl; masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask16(n), p) }
    }
    #[inline(always)]
    unsafe fn stream(p: *mut f32, v: __m512) {
        // SAFETY: see the impl; the caller grants the alignment.
        unsafe { _mm512_stream_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: __m512, n: usize) {
        // SAFETY: see the impl; masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(p, mask16(n), v) }
    }
    #[inline(always)]
    fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(a: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(a: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn round(a: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn copysign(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let sign = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b))
        }
    }
    #[inline(always)]
    fn exp2_int(n: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn scale_exp2(a: __m512, n: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_scalef_ps(a, n) }
    }
    #[inline(always)]
    fn select_lt(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn all_lt(a: __m512, b: __m512) -> bool {
        // SAFETY: see the impl.
        unsafe { _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, b) == 0 }
    }
    #[inline(always)]
    fn sum(a: __m512) -> f32 {
        // SAFETY: see the impl.
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn max_lane(a: __m512) -> f32 {
        // SAFETY: see the impl.
        unsafe { _mm512_reduce_max_ps(a) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Isa, Scalar, Simd, dispatch};

    #[inline(always)]
    fn probe<S: Simd>(x: &[f32], y: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        for (a, b) in x.chunks(S::LANES).zip(y.chunks(S::LANES)) {
            let n = a.len();
            let mut lanes = [0.0; 16];
            // SAFETY: a and b have n readable values, lanes has 16.
            unsafe {
                let (a, b) = (S::load_partial(a.as_ptr(), n), S::load_partial(b.as_ptr(), n));
                for v in [
                    S::add(a, b),
                    S::min(a, b),
                    S::max(a, b),
                    S::round(a),
                    S::copysign(a, b),
                    S::abs(a),
                    S::exp2_int(S::round(a)),
                    S::scale_exp2(S::splat(1.5), S::round(S::mul(a, S::splat(6.0)))),
                    S::select_lt(a, b, a, S::splat(7.0)),
                    S::div(a, b),
                ] {
                    S::store_partial(lanes.as_mut_ptr(), v, n);
                    out.push(lanes[..n].to_vec());
                }
            }
        }
        // Regroup by operation so that levels with other widths compare.
        (0..10)
            .flat_map(|op| out.iter().skip(op).step_by(10).flatten().copied().collect::<Vec<_>>())
            .collect()
    }

    /// Whether all of some values are less than 3, lane by lane of the vectors that they fill.
    #[inline(always)]
    fn are_below<S: Simd>(x: &[f32; 16]) -> bool {
        // SAFETY: 16 values, which whole vectors divide.
        x.chunks(S::LANES).all(|x| S::all_lt(unsafe { S::load(x.as_ptr()) }, S::splat(3.0)))
    }

    #[test]
    fn all_lanes_are_less_or_one_is_not() {
        for isa in Isa::available() {
            let mut x = [2.5f32; 16];
            assert!(dispatch!(isa, S => are_below::<S>(&x)), "{}", isa.name());
            for lane in 0..16 {
                for other in [3.0, f32::NAN, f32::INFINITY] {
                    x[lane] = other;
                    assert!(!dispatch!(isa, S => are_below::<S>(&x)), "{} {lane} {other}", isa.name());
                }
                x[lane] = f32::NEG_INFINITY;
            }
        }
    }

    #[test]
    fn every_level_agrees_with_scalar() {
        let x: Vec<f32> = (0..37).map(|i| (i as f32 - 18.0) * 1.37).collect();
        let y: Vec<f32> = (0..37).map(|i| (20.0 - i as f32) * 0.91).collect();
        let expected = probe::<Scalar>(&x, &y);
        for isa in Isa::available() {
            assert_eq!(dispatch!(isa, S => probe::<S>(&x, &y)), expected, "{}", isa.name());
        }
    }
}
