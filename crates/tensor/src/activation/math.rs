//! Elementary functions on vectors. The polynomials are least-maximum fits on the ranges stated.

use vedette_simd::Simd;

/// `c[0] + c[1] x + ...` by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: S::V, c: [f32; N]) -> S::V {
    let mut y = S::splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        y = S::mul_add(y, x, S::splat(c[i]));
    }
    y
}

/// `x = n ln 2 + r` with integral `n` and `|r| <= ln(2)/2`; returns `n` and `e^r - 1`.
#[inline(always)]
fn reduced_expm1<S: Simd>(x: S::V) -> (S::V, S::V) {
    // ln 2 in two parts: the first has few enough bits that n times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
    let r = S::mul_add(n, S::splat(-LN2_HIGH), x);
    let r = S::mul_add(n, S::splat(-LN2_LOW), r);
    // (e^r - 1 - r) / r^2, relative error of e^r - 1 below 1.4e-8.
    let q = polynomial::<S, 5>(r, [0.5, 0.166_665_42, 0.041_666_28, 0.008_366_756, 0.001_394_674_8]);
    (n, S::mul_add(S::mul(r, r), q, r))
}

/// `e^x` within 1 ULP, with NaN, infinities, overflow and subnormal results as in std.
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: S::V) -> S::V {
    // Beyond these bounds the result is infinity or zero, and n stays within what scale_exp2 takes.
    let x = S::max(S::splat(-104.0), S::min(S::splat(89.0), x));
    let (n, e) = reduced_expm1::<S>(x);
    S::scale_exp2(S::add(e, S::splat(1.0)), n)
}

/// `e^x - 1` for `x <= 0`, within 2 ULP also near zero.
#[inline(always)]
pub(crate) fn expm1_negative<S: Simd>(x: S::V) -> S::V {
    // e^-30 vanishes beside 1.
    let (n, e) = reduced_expm1::<S>(S::max(S::splat(-30.0), x));
    let power = S::exp2_int(n);
    S::mul_add(power, e, S::sub(power, S::splat(1.0)))
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(x: S::V) -> S::V {
    let one = S::splat(1.0);
    S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
}

/// `tanh x` within 3 ULP.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(x: S::V) -> S::V {
    // With t = e^(-2|x|) - 1, tanh |x| = -t / (2 + t).
    let t = expm1_negative::<S>(S::mul(S::abs(x), S::splat(-2.0)));
    S::copysign(S::div(t, S::add(t, S::splat(2.0))), x)
}

/// The error function, within 1.5e-7 and 3 ULP.
#[inline(always)]
pub(crate) fn erf<S: Simd>(x: S::V) -> S::V {
    // -ln(1 - erf t) / t is smooth enough for one polynomial on [0, 4]; beyond 4, erf rounds to 1.
    let t = S::min(S::splat(4.0), S::abs(x));
    let p = polynomial::<S, 9>(
        t,
        [
            std::f32::consts::FRAC_2_SQRT_PI,
            0.636_619_4,
            0.102_777_81,
            -0.019_152_994,
            -1.605_144_8e-4,
            1.667_138_4e-3,
            -6.328_943_5e-4,
            1.176_566_6e-4,
            -9.257_918e-6,
        ],
    );
    S::copysign(expm1_negative::<S>(S::mul(t, S::sub(S::splat(0.0), p))), x)
}

/// `ln(1 + x)` for `x` in `[0, 1]`, within 2 ULP.
#[inline(always)]
fn log1p_unit<S: Simd>(x: S::V) -> S::V {
    // ln(1 + x) = 2 artanh(s) with s = x / (2 + x), and s^2 <= 1/9.
    let s = S::div(x, S::add(x, S::splat(2.0)));
    let z = S::mul(s, s);
    let p = polynomial::<S, 5>(z, [0.333_333_38, 0.199_994_39, 0.143_084_42, 0.107_138_29, 0.121_504_67]);
    let double = S::add(s, s);
    S::mul_add(S::mul(z, p), double, double)
}

/// `ln(1 + e^x)`, without overflow.
#[inline(always)]
pub(crate) fn softplus<S: Simd>(x: S::V) -> S::V {
    let zero = S::splat(0.0);
    S::add(S::max(zero, x), log1p_unit::<S>(exp::<S>(S::sub(zero, S::abs(x)))))
}

/// `x tanh(softplus x)`
#[inline(always)]
pub(crate) fn mish<S: Simd>(x: S::V) -> S::V {
    // tanh(ln(1 + e)) = e(e + 2) / (e(e + 2) + 2), which is 1 from e^20 on.
    let e = exp::<S>(S::min(S::splat(20.0), x));
    let n = S::mul(e, S::add(e, S::splat(2.0)));
    S::mul(x, S::div(n, S::add(n, S::splat(2.0))))
}
