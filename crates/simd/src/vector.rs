/// A vector of `f32` lanes at one instruction-set level.
///
/// Every method is `#[inline(always)]` and must be reached from inside [`crate::dispatch!`], which compiles the
/// caller for the level; outside it the intrinsics would become calls.
pub trait Simd: Copy + Send + Sync + 'static {
    /// The vector register.
    type V: Copy;
    /// Lanes of `f32` in a register.
    const LANES: usize;
    /// Architectural registers kernels may count on.
    const REGISTERS: usize;

    /// All lanes set to `x`.
    fn splat(x: f32) -> Self::V;
    /// Loads `LANES` values.
    ///
    /// # Safety
    /// `p` must be readable for `LANES` values; no alignment is needed.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Stores `LANES` values.
    ///
    /// # Safety
    /// `p` must be writable for `LANES` values; no alignment is needed.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Stores `LANES` values past the caches where the level can, for what is not read soon;
    /// [`end_of_stream`](crate::end_of_stream) goes before whatever tells others of them.
    ///
    /// # Safety
    /// As for [`store`](Self::store), aligned to the register.
    #[inline(always)]
    unsafe fn stream(p: *mut f32, v: Self::V) {
        // SAFETY: as granted by the caller.
        unsafe { Self::store(p, v) }
    }
    /// Loads the first `n` values, the other lanes are zero.
    ///
    /// # Safety
    /// `p` must be readable for `n` values, `n <= LANES`.
    unsafe fn load_partial(p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `p` must be writable for `n` values, `n <= LANES`.
    unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize);
    /// `a + b`
    fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, fused where the level has it.
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Lane-wise minimum; where `a` is NaN the result is `b` (as x86 `minps`).
    fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Lane-wise maximum; where `a` is NaN the result is `b` (as x86 `maxps`).
    fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Square root.
    fn sqrt(a: Self::V) -> Self::V;
    /// Absolute value.
    fn abs(a: Self::V) -> Self::V;
    /// Round to nearest, ties to even.
    fn round(a: Self::V) -> Self::V;
    /// Magnitude of `a` with the sign of `b`.
    fn copysign(a: Self::V, b: Self::V) -> Self::V;
    /// `2^n` for integral `n` in `[-127, 128]`, built in the exponent bits (`-127` gives 0, `128` infinity); anything
    /// for other values.
    fn exp2_int(n: Self::V) -> Self::V;
    /// `a 2^n` for integral `n` in `[-252, 254]`, rounded once, so that results may be subnormal or infinite;
    /// anything for other values.
    fn scale_exp2(a: Self::V, n: Self::V) -> Self::V;
    /// Where `a < b` then `x` else `y` (NaN compares false).
    fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Whether `a < b` in every lane (NaN compares false).
    fn all_lt(a: Self::V, b: Self::V) -> bool;
    /// Sum of the lanes.
    fn sum(a: Self::V) -> f32;
    /// Largest lane.
    fn max_lane(a: Self::V) -> f32;
}

/// Portable level: four lanes of plain arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

const LANES: usize = 4;

#[inline(always)]
fn map2(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Scalar {
    type V = [f32; LANES];
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller grants LANES readable values; the array type has no stricter alignment than f32.
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: the caller grants LANES writable values.
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, n: usize) -> Self::V {
        let mut v = [0.0; LANES];
        for (i, lane) in v.iter_mut().enumerate().take(n) {
            // SAFETY: i < n, which the caller grants.
            *lane = unsafe { p.add(i).read() };
        }
        v
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize) {
        for (i, lane) in v.iter().enumerate().take(n) {
            // SAFETY: i < n, which the caller grants.
            unsafe { p.add(i).write(*lane) }
        }
    }
    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |x, y| x + y)
    }
    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |x, y| x - y)
    }
    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |x, y| x * y)
    }
    #[inline(always)]
    fn div(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |x, y| x / y)
    }
    #[inline(always)]
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    fn sqrt(a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn abs(a: Self::V) -> Self::V {
        a.map(f32::abs)
    }
    #[inline(always)]
    fn round(a: Self::V) -> Self::V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn copysign(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, f32::copysign)
    }
    #[inline(always)]
    fn exp2_int(n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    fn scale_exp2(a: Self::V, n: Self::V) -> Self::V {
        map2(a, n, |a, n| {
            let (n, power) = (n as i32, |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23));
            a * power(n >> 1) * power(n - (n >> 1))
        })
    }
    #[inline(always)]
    fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn all_lt(a: Self::V, b: Self::V) -> bool {
        a.iter().zip(b).all(|(a, b)| *a < b)
    }
    #[inline(always)]
    fn sum(a: Self::V) -> f32 {
        (a[0] + a[1]) + (a[2] + a[3])
    }
    #[inline(always)]
    fn max_lane(a: Self::V) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}
