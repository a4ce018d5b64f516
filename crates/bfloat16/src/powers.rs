//! Powers of two.

use vedette_simd::Simd;

/// `2^x` for `x` up to 127 with a relative error below 1e-5, a hundredth of what rounding to bfloat16 does; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(x: S::V) -> S::V {
    // Below this bound the result is zero, and n stays within what scale_exp2 takes.
    let x = S::max(S::splat(-150.0), x);
    let n = S::round(x);
    let r = S::sub(x, n);
    // 2^r on [-1/2, 1/2], by interpolation at Chebyshev's points.
    let c = [1.0, 0.693_121, 0.240_223_5, 0.055_921_976, 0.009_666_368];
    let mut y = S::splat(c[4]);
    for c in [c[3], c[2], c[1], c[0]] {
        y = S::mul_add(y, r, S::splat(c));
    }
    S::scale_exp2(y, n)
}
