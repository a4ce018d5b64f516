//! The micro-kernel: a few rows of `A`, where they lie, times one packed panel of `B`, kept in registers.

use std::ptr;
use vedette_simd::{Isa, Level, Scalar, Simd, prefetch, prefetch_to_l2};

/// Most rows any kernel takes at once.
pub(crate) const MAX_ROWS: usize = 12;

/// Most taps in one call of a kernel: bounds the list of row pointers to something that stays in L1.
pub(crate) const MAX_TAPS: usize = 64;

/// One tile of work: `out = clamp(start + sum over taps of rows[tap] x panel[tap])`.
pub(crate) struct Tile {
    /// `[taps][rows]` pointers, each to `depth` values.
    pub rows: *const *const f32,
    pub taps: usize,
    pub depth: usize,
    /// Values from the rows to those that are wanted next, which are fetched meanwhile; 0 where they are in cache.
    pub ahead: isize,
    /// `[taps][depth][width]`
    pub panel: *const f32,
    /// What the tiles after this panel's will read, to be fetched into L2 meanwhile: so many cache lines for each line
    /// of depth.
    pub upcoming: *const f32,
    pub upcoming_lines: usize,
    /// Columns of the panel that exist in the output.
    pub columns: usize,
    pub out: *mut f32,
    pub out_stride: usize,
    /// `columns` values added to every row, or null.
    pub bias: *const f32,
    /// Rows added to the output, or null; may be `out` itself.
    pub residual: *const f32,
    pub residual_stride: usize,
    /// Whether the sum continues what `out` holds already; bias and residual are then in it.
    pub accumulate: bool,
    /// Bounds of the result.
    pub clamp: Option<(f32, f32)>,
}

pub(crate) type TileFn = unsafe fn(&Tile);

/// The kernels for one panel width.
pub(crate) struct Kernel {
    /// Columns of a panel.
    pub width: usize,
    /// `tiles[i]` computes `i + 1` rows.
    pub tiles: &'static [TileFn],
    /// Time for a row of one panel, in units of a 16-column panel at full speed.
    pub cost: f32,
}

/// Values of a cache line.
pub(crate) const LINE: usize = 16;

/// # Safety
/// `t` must describe memory that is readable and writable as its fields say, for `MR` rows.
#[inline(always)]
unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(t: &Tile) {
    let mut sums = [[S::splat(0.0); NV]; MR];
    let mut panel = t.panel;
    let mut upcoming = t.upcoming;
    if !t.accumulate {
        // By the time the sums are complete the lines they go to have arrived.
        for i in 0..MR {
            for at in (0..NV * S::LANES).step_by(LINE) {
                prefetch(t.out.wrapping_add(i * t.out_stride + at).cast());
            }
        }
    }
    for tap in 0..t.taps {
        let mut rows = [ptr::null::<f32>(); MR];
        for (i, row) in rows.iter_mut().enumerate() {
            // SAFETY: the caller grants taps x MR pointers.
            *row = unsafe { *t.rows.add(tap * MR + i) };
        }
        for k in 0..t.depth {
            if k % LINE == 0 {
                if t.ahead != 0 {
                    for row in rows {
                        prefetch(row.wrapping_add(k).wrapping_offset(t.ahead).cast());
                    }
                }
                for _ in 0..t.upcoming_lines {
                    prefetch_to_l2(upcoming.cast());
                    upcoming = upcoming.wrapping_add(LINE);
                }
            }
            let mut b = [S::splat(0.0); NV];
            for (v, b) in b.iter_mut().enumerate() {
                // SAFETY: the panel has taps x depth rows of NV vectors.
                *b = unsafe { S::load(panel.add(v * S::LANES)) };
            }
            for i in 0..MR {
                // SAFETY: each row has depth values.
                let a = S::splat(unsafe { *rows[i].add(k) });
                for v in 0..NV {
                    sums[i][v] = S::mul_add(a, b[v], sums[i][v]);
                }
            }
            panel = panel.wrapping_add(NV * S::LANES);
        }
    }
    if t.columns == NV * S::LANES {
        // SAFETY: every vector of the row is whole.
        unsafe { finish::<S, MR, NV, true>(t, sums) }
    } else {
        // SAFETY: as the caller grants.
        unsafe { finish::<S, MR, NV, false>(t, sums) }
    }
}

/// Vector `v` of a row of `n` values; lanes past its end are zero.
///
/// # Safety
/// `row` is readable for `n` values, which are whole vectors where `WHOLE`.
#[inline(always)]
unsafe fn load_lanes<S: Simd, const WHOLE: bool>(row: *const f32, v: usize, n: usize) -> S::V {
    let p = row.wrapping_add(v * S::LANES);
    // SAFETY: lanes beyond n are not touched.
    unsafe {
        if WHOLE { S::load(p) } else { S::load_partial(p, n.saturating_sub(v * S::LANES).min(S::LANES)) }
    }
}

/// # Safety
/// As for [`load_lanes`], writable.
#[inline(always)]
unsafe fn store_lanes<S: Simd, const WHOLE: bool>(row: *mut f32, v: usize, n: usize, x: S::V) {
    let p = row.wrapping_add(v * S::LANES);
    // SAFETY: lanes beyond n are not touched.
    unsafe {
        if WHOLE {
            S::store(p, x)
        } else {
            S::store_partial(p, x, n.saturating_sub(v * S::LANES).min(S::LANES))
        }
    }
}

/// # Safety
/// As for [`tile`]; `WHOLE` only where the columns fill all vectors.
#[inline(always)]
unsafe fn finish<S: Simd, const MR: usize, const NV: usize, const WHOLE: bool>(
    t: &Tile,
    mut sums: [[S::V; NV]; MR],
) {
    let n = if WHOLE { NV * S::LANES } else { t.columns };
    if t.accumulate {
        for i in 0..MR {
            for v in 0..NV {
                // SAFETY: row i of the output, within the columns.
                sums[i][v] = S::add(sums[i][v], unsafe {
                    load_lanes::<S, WHOLE>(t.out.wrapping_add(i * t.out_stride), v, n)
                });
            }
        }
    } else {
        if !t.bias.is_null() {
            for v in 0..NV {
                // SAFETY: the bias has a value for each column.
                let bias = unsafe { load_lanes::<S, WHOLE>(t.bias, v, n) };
                for i in 0..MR {
                    sums[i][v] = S::add(sums[i][v], bias);
                }
            }
        }
        if !t.residual.is_null() {
            for i in 0..MR {
                for v in 0..NV {
                    let row = t.residual.wrapping_add(i * t.residual_stride);
                    // SAFETY: row i of the residual.
                    let residual = unsafe { load_lanes::<S, WHOLE>(row, v, n) };
                    sums[i][v] = S::add(sums[i][v], residual);
                }
            }
        }
    }
    if let Some((low, high)) = t.clamp {
        let (low, high) = (S::splat(low), S::splat(high));
        for i in 0..MR {
            for v in 0..NV {
                // The sum is the second operand, which is what a NaN passes through.
                sums[i][v] = S::min(high, S::max(low, sums[i][v]));
            }
        }
    }
    for i in 0..MR {
        for v in 0..NV {
            // SAFETY: row i of the output.
            unsafe { store_lanes::<S, WHOLE>(t.out.wrapping_add(i * t.out_stride), v, n, sums[i][v]) };
        }
    }
}

macro_rules! kernel {
    ($call:path, $simd:ty, $vectors:literal, $cost:literal, [$($rows:literal),*]) => {
        Kernel {
            width: $vectors * <$simd>::LANES,
            cost: $cost,
            tiles: &[$({
                unsafe fn entry(t: &Tile) {
                    // SAFETY: the table of a level is only handed out for an `Isa` of that level; the rest is the
                    // caller's promise.
                    unsafe { $call(#[inline(always)] || tile::<$simd, $rows, $vectors>(t)) }
                }
                entry
            }),*],
        }
    };
}

/// # Safety
/// None; the signature is that of the other levels' callers.
#[inline(always)]
unsafe fn call_scalar<R>(f: impl FnOnce() -> R) -> R {
    f()
}

static SCALAR: [Kernel; 2] =
    [kernel!(call_scalar, Scalar, 1, 0.6, [1, 2, 3, 4]), kernel!(call_scalar, Scalar, 2, 1.0, [1, 2, 3, 4])];

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use vedette_simd::{Avx2, Avx512, call_avx2, call_avx512};

    // Accumulators, one panel row and a broadcast share 16 registers.
    pub(super) static AVX2: [Kernel; 3] = [
        kernel!(call_avx2, Avx2, 1, 0.6, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        kernel!(call_avx2, Avx2, 2, 1.0, [1, 2, 3, 4, 5, 6]),
        kernel!(call_avx2, Avx2, 3, 1.55, [1, 2, 3, 4]),
    ];

    // 32 registers. The 8- and 24-column panels use 256-bit vectors, which with AVX-512VL have all 32 as well, so that
    // few columns do not cost what many do.
    pub(super) static AVX512: [Kernel; 6] = [
        kernel!(call_avx512, Avx2, 1, 0.7, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        kernel!(call_avx512, Avx512, 1, 1.1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        kernel!(call_avx512, Avx2, 3, 1.55, [1, 2, 3, 4, 5, 6, 7, 8]),
        kernel!(call_avx512, Avx512, 2, 2.0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        kernel!(call_avx512, Avx512, 3, 3.0, [1, 2, 3, 4, 5, 6, 7, 8]),
        kernel!(call_avx512, Avx512, 4, 4.0, [1, 2, 3, 4, 5, 6]),
    ];
}

/// The kernels of a level, narrowest panel first.
pub(crate) fn kernels(isa: Isa) -> &'static [Kernel] {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => &x86::AVX512,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &x86::AVX2,
        _ => &SCALAR,
    }
}
