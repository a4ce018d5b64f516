//! The two float types as one trait, for kernels that are written once for both.

use crate::{Scalar, Simd};

/// Vectors of `f64` at a level. As with [`Simd`], everything must be reached from inside [`crate::dispatch!`].
pub trait Doubles: Simd {
    /// The vector register.
    type D: Copy;
    /// Lanes of `f64` in a register.
    const DOUBLES: usize;

    /// All lanes set to `x`.
    fn splat_doubles(x: f64) -> Self::D;
    /// Loads the first `n` values, the other lanes are zero.
    ///
    /// # Safety
    /// `p` must be readable for `n` values, `n <= DOUBLES`.
    unsafe fn load_doubles(p: *const f64, n: usize) -> Self::D;
    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `p` must be writable for `n` values, `n <= DOUBLES`.
    unsafe fn store_doubles(p: *mut f64, v: Self::D, n: usize);
    /// `a + b`
    fn add_doubles(a: Self::D, b: Self::D) -> Self::D;
    /// `a * b + c`, fused where the level has it.
    fn mul_add_doubles(a: Self::D, b: Self::D, c: Self::D) -> Self::D;
}

impl Doubles for Scalar {
    type D = [f64; 2];
    const DOUBLES: usize = 2;

    #[inline(always)]
    fn splat_doubles(x: f64) -> Self::D {
        [x; 2]
    }
    #[inline(always)]
    unsafe fn load_doubles(p: *const f64, n: usize) -> Self::D {
        // SAFETY: the caller grants n values.
        std::array::from_fn(|i| if i < n { unsafe { p.add(i).read() } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_doubles(p: *mut f64, v: Self::D, n: usize) {
        for (i, lane) in v.into_iter().enumerate().take(n) {
            // SAFETY: i < n, which the caller grants.
            unsafe { p.add(i).write(lane) }
        }
    }
    #[inline(always)]
    fn add_doubles(a: Self::D, b: Self::D) -> Self::D {
        [a[0] + b[0], a[1] + b[1]]
    }
    #[inline(always)]
    fn mul_add_doubles(a: Self::D, b: Self::D, c: Self::D) -> Self::D {
        [a[0] * b[0] + c[0], a[1] * b[1] + c[1]]
    }
}

/// A float type that vectors hold.
pub trait Real: Copy + Default + PartialEq + Send + Sync + 'static {
    /// Its vector at a level.
    type Vector<S: Doubles>: Copy;

    /// Lanes of that vector.
    fn lanes<S: Doubles>() -> usize;
    /// All lanes set to `x`.
    fn splat<S: Doubles>(x: Self) -> Self::Vector<S>;
    /// Loads the first `n` values, the other lanes are zero.
    ///
    /// # Safety
    /// `p` must be readable for `n` values, no more than there are lanes.
    unsafe fn load<S: Doubles>(p: *const Self, n: usize) -> Self::Vector<S>;
    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `p` must be writable for `n` values, no more than there are lanes.
    unsafe fn store<S: Doubles>(p: *mut Self, v: Self::Vector<S>, n: usize);
    /// `a + b`
    fn add<S: Doubles>(a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a * b + c`, fused where the level has it.
    fn mul_add<S: Doubles>(a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
}

impl Real for f32 {
    type Vector<S: Doubles> = S::V;

    #[inline(always)]
    fn lanes<S: Doubles>() -> usize {
        S::LANES
    }
    #[inline(always)]
    fn splat<S: Doubles>(x: f32) -> S::V {
        S::splat(x)
    }
    #[inline(always)]
    unsafe fn load<S: Doubles>(p: *const f32, n: usize) -> S::V {
        // SAFETY: as the caller grants.
        unsafe { if n == S::LANES { S::load(p) } else { S::load_partial(p, n) } }
    }
    #[inline(always)]
    unsafe fn store<S: Doubles>(p: *mut f32, v: S::V, n: usize) {
        // SAFETY: as the caller grants.
        unsafe { if n == S::LANES { S::store(p, v) } else { S::store_partial(p, v, n) } }
    }
    #[inline(always)]
    fn add<S: Doubles>(a: S::V, b: S::V) -> S::V {
        S::add(a, b)
    }
    #[inline(always)]
    fn mul_add<S: Doubles>(a: S::V, b: S::V, c: S::V) -> S::V {
        S::mul_add(a, b, c)
    }
}

impl Real for f64 {
    type Vector<S: Doubles> = S::D;

    #[inline(always)]
    fn lanes<S: Doubles>() -> usize {
        S::DOUBLES
    }
    #[inline(always)]
    fn splat<S: Doubles>(x: f64) -> S::D {
        S::splat_doubles(x)
    }
    #[inline(always)]
    unsafe fn load<S: Doubles>(p: *const f64, n: usize) -> S::D {
        // SAFETY: as the caller grants.
        unsafe { S::load_doubles(p, n) }
    }
    #[inline(always)]
    unsafe fn store<S: Doubles>(p: *mut f64, v: S::D, n: usize) {
        // SAFETY: as the caller grants.
        unsafe { S::store_doubles(p, v, n) }
    }
    #[inline(always)]
    fn add<S: Doubles>(a: S::D, b: S::D) -> S::D {
        S::add_doubles(a, b)
    }
    #[inline(always)]
    fn mul_add<S: Doubles>(a: S::D, b: S::D, c: S::D) -> S::D {
        S::mul_add_doubles(a, b, c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, dispatch};

    #[inline(always)]
    fn probe<T: Real, S: Doubles>(x: &[T], y: &[T], out: &mut [T]) {
        for ((a, b), out) in
            x.chunks(T::lanes::<S>()).zip(y.chunks(T::lanes::<S>())).zip(out.chunks_mut(T::lanes::<S>()))
        {
            let n = a.len();
            // SAFETY: all three have n values.
            unsafe {
                let (a, b) = (T::load::<S>(a.as_ptr(), n), T::load::<S>(b.as_ptr(), n));
                let sum = T::add::<S>(a, T::splat::<S>(T::default()));
                T::store::<S>(out.as_mut_ptr(), T::mul_add::<S>(sum, b, b), n);
            }
        }
    }

    #[test]
    fn both_types_compute_at_every_level() {
        for isa in Isa::available() {
            for n in [1, 2, 3, 7, 8, 9, 31] {
                let x: Vec<f64> = (0..n).map(|i| f64::from(i) - 4.0).collect();
                let expected: Vec<f64> = x.iter().map(|x| x * 3.0 + 3.0).collect();
                let mut out = vec![0.0; x.len()];
                dispatch!(isa, S => probe::<f64, S>(&x, &vec![3.0; x.len()], &mut out));
                assert_eq!(out, expected, "{}", isa.name());
                let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
                let mut out = vec![0.0f32; x.len()];
                dispatch!(isa, S => probe::<f32, S>(&x, &vec![3.0; x.len()], &mut out));
                assert_eq!(out, expected.iter().map(|&x| x as f32).collect::<Vec<_>>());
            }
        }
    }
}
