//! The micro-kernel of products that are made once: operands are read by strides, so packed and unpacked ones alike.

#[cfg(target_arch = "x86_64")]
use vedette_simd::{Avx2, Avx512, call_avx2, call_avx512};
use vedette_simd::{Doubles, Isa, Level, Real, Scalar, Simd, dispatch};

/// One tile of work: `out = a x b`, or added to what `out` holds.
pub(super) struct Block<T> {
    pub a: *const T,
    /// From one row of `a` to the next, and from one of its columns to the next.
    pub a_row: isize,
    pub a_step: isize,
    /// Rows of `columns` values, `b_step` apart.
    pub b: *const T,
    pub b_step: isize,
    pub depth: usize,
    pub columns: usize,
    pub out: *mut T,
    pub out_stride: isize,
    pub accumulate: bool,
}

type BlockFn<T> = unsafe fn(&Block<T>);

/// The kernels for one width.
pub(super) struct Kernel<T: 'static> {
    /// Most columns it takes.
    pub width: usize,
    /// `tiles[i]` computes `i + 1` rows.
    pub tiles: &'static [BlockFn<T>],
}

/// # Safety
/// `t` must describe memory that is readable and writable as its fields say, for `MR` rows.
#[inline(always)]
unsafe fn tile<T: Real, S: Doubles, const MR: usize, const NV: usize>(t: &Block<T>) {
    let lanes = T::lanes::<S>();
    if t.columns == NV * lanes {
        // SAFETY: as the caller grants.
        unsafe { tile_of::<T, S, MR, NV>(t, [lanes; NV]) }
    } else {
        let mut widths = [0; NV];
        for (v, width) in widths.iter_mut().enumerate() {
            *width = t.columns.saturating_sub(v * lanes).min(lanes);
        }
        // SAFETY: as above; the widths end with the columns.
        unsafe { tile_of::<T, S, MR, NV>(t, widths) }
    }
}

/// # Safety
/// As for [`tile`]; the widths of the vectors add up to the columns.
#[inline(always)]
unsafe fn tile_of<T: Real, S: Doubles, const MR: usize, const NV: usize>(t: &Block<T>, widths: [usize; NV]) {
    let lanes = T::lanes::<S>();
    let zero = T::splat::<S>(T::default());
    let mut sums = [[zero; NV]; MR];
    let (mut a, mut b) = (t.a, t.b);
    for _ in 0..t.depth {
        let mut row = [zero; NV];
        for v in 0..NV {
            // SAFETY: a row of b, within its columns.
            row[v] = unsafe { T::load::<S>(b.wrapping_add(v * lanes), widths[v]) };
        }
        for i in 0..MR {
            // SAFETY: an element of a.
            let x = T::splat::<S>(unsafe { *a.wrapping_offset(i as isize * t.a_row) });
            for v in 0..NV {
                sums[i][v] = T::mul_add::<S>(x, row[v], sums[i][v]);
            }
        }
        a = a.wrapping_offset(t.a_step);
        b = b.wrapping_offset(t.b_step);
    }
    for i in 0..MR {
        let out = t.out.wrapping_offset(i as isize * t.out_stride);
        for v in 0..NV {
            let to = out.wrapping_add(v * lanes);
            // SAFETY: row i of the output, within its columns.
            unsafe {
                if t.accumulate {
                    sums[i][v] = T::add::<S>(sums[i][v], T::load::<S>(to, widths[v]));
                }
                T::store::<S>(to, sums[i][v], widths[v]);
            }
        }
    }
}

macro_rules! kernel {
    ($call:path, $simd:ty, $t:ty, $lanes:expr, $vectors:literal, [$($rows:literal),*]) => {
        Kernel {
            width: $vectors * $lanes,
            tiles: &[$({
                unsafe fn entry(t: &Block<$t>) {
                    // SAFETY: the table of a level is only handed out for an `Isa` of that level; the rest is the
                    // caller's promise.
                    unsafe { $call(#[inline(always)] || tile::<$t, $simd, $rows, $vectors>(t)) }
                }
                entry
            }),*],
        }
    };
}

/// A type with kernels, narrowest first.
pub(super) trait Kernels: Real {
    fn kernels(isa: Isa) -> &'static [Kernel<Self>];

    /// The sums of the products of each of `rows` rows of `n` values, `step` apart, with `b`; `out` has a stride of its
    /// own.
    ///
    /// # Safety
    /// The rows and `b` are readable for `n` values, `out` writable for `rows`.
    unsafe fn dots(
        isa: Isa,
        rows: usize,
        a: (*const Self, isize),
        b: *const Self,
        n: usize,
        out: (*mut Self, isize),
    );
}

/// # Safety
/// As for [`Kernels::dots`], for `R` rows.
#[inline(always)]
unsafe fn dots<T: Real + std::ops::Add<Output = T>, S: Doubles, const R: usize, const SUMS: usize>(
    (a, step): (*const T, isize),
    b: *const T,
    n: usize,
    (out, out_step): (*mut T, isize),
) {
    let lanes = T::lanes::<S>();
    // As many sums side by side as hide the latency of an addition.
    let mut sums = [[T::splat::<S>(T::default()); SUMS]; R];
    let mut i = 0;
    while i < n {
        for j in 0..SUMS {
            let width = lanes.min(n - i);
            // SAFETY: width values from i on, of b and of each row.
            unsafe {
                let values = T::load::<S>(b.add(i), width);
                for r in 0..R {
                    let row = T::load::<S>(a.wrapping_offset(r as isize * step).add(i), width);
                    sums[r][j] = T::mul_add::<S>(row, values, sums[r][j]);
                }
            }
            i += width;
        }
    }
    for r in 0..R {
        let mut width = SUMS / 2;
        while width > 0 {
            for j in 0..width {
                sums[r][j] = <T as Real>::add::<S>(sums[r][j], sums[r][j + width]);
            }
            width /= 2;
        }
        // No level has more lanes.
        let mut values = [T::default(); 16];
        // SAFETY: the values have room for every lane.
        unsafe { T::store::<S>(values.as_mut_ptr(), sums[r][0], lanes) };
        let mut width = lanes / 2;
        while width > 0 {
            for j in 0..width {
                values[j] = values[j] + values[j + width];
            }
            width /= 2;
        }
        // SAFETY: an element of the output.
        unsafe { out.wrapping_offset(r as isize * out_step).write(values[0]) };
    }
}

/// # Safety
/// None; the signature is that of the other levels' callers.
#[inline(always)]
unsafe fn call_scalar<R>(f: impl FnOnce() -> R) -> R {
    f()
}

// Accumulators, a row of `b` and a broadcast share 16 registers, 32 with AVX-512.
macro_rules! kernels {
    ($t:ty, $lanes:ident) => {
        impl Kernels for $t {
            fn kernels(isa: Isa) -> &'static [Kernel<$t>] {
                static SCALAR: [Kernel<$t>; 2] = [
                    kernel!(call_scalar, Scalar, $t, <Scalar>::$lanes, 1, [1, 2, 3, 4]),
                    kernel!(call_scalar, Scalar, $t, <Scalar>::$lanes, 2, [1, 2, 3, 4]),
                ];
                #[cfg(target_arch = "x86_64")]
                static AVX2: [Kernel<$t>; 3] = [
                    kernel!(call_avx2, Avx2, $t, <Avx2>::$lanes, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
                    kernel!(call_avx2, Avx2, $t, <Avx2>::$lanes, 2, [1, 2, 3, 4, 5, 6]),
                    kernel!(call_avx2, Avx2, $t, <Avx2>::$lanes, 3, [1, 2, 3, 4]),
                ];
                #[cfg(target_arch = "x86_64")]
                static AVX512: [Kernel<$t>; 3] = [
                    kernel!(call_avx512, Avx512, $t, <Avx512>::$lanes, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
                    kernel!(call_avx512, Avx512, $t, <Avx512>::$lanes, 2, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
                    kernel!(call_avx512, Avx512, $t, <Avx512>::$lanes, 3, [1, 2, 3, 4, 5, 6, 7, 8]),
                ];
                match isa.level() {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => &AVX512,
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => &AVX2,
                    _ => &SCALAR,
                }
            }

            unsafe fn dots(
                isa: Isa,
                rows: usize,
                (a, step): (*const $t, isize),
                b: *const $t,
                n: usize,
                (out, out_step): (*mut $t, isize),
            ) {
                let at = |row: usize| {
                    let row = row as isize;
                    ((a.wrapping_offset(row * step), step), (out.wrapping_offset(row * out_step), out_step))
                };
                dispatch!(isa, S => {
                    let mut row = 0;
                    while row + 4 <= rows {
                        let (a, out) = at(row);
                        // SAFETY: as the caller grants, of four rows.
                        unsafe { dots::<$t, S, 4, 2>(a, b, n, out) };
                        row += 4;
                    }
                    while row < rows {
                        let (a, out) = at(row);
                        // SAFETY: as the caller grants, of one row.
                        unsafe { dots::<$t, S, 1, 8>(a, b, n, out) };
                        row += 1;
                    }
                });
            }
        }
    };
}

kernels!(f32, LANES);
kernels!(f64, DOUBLES);
