//! Sixteen columns a vector, four bytes of each a lane.

use super::weights::CHUNK;
use super::{COLUMNS, ROWS, Tile};
use std::arch::x86_64::*;

/// Bytes from the weights in use to those fetched meanwhile.
const AHEAD: usize = 4096;

/// Computes the columns of a block for `rows` rows.
///
/// # Safety
/// The block and the rows exist; the CPU has AVX-512 F, BW and VNNI.
pub(super) unsafe fn tile(tile: &Tile<'_>, rows: usize, out: &mut [[f32; COLUMNS]; ROWS]) {
    // SAFETY: as granted by the caller.
    unsafe {
        match (tile.weights.bits(), rows) {
            (4, 1) => rows_of::<1, true>(tile, out),
            (4, 2) => rows_of::<2, true>(tile, out),
            (4, 3) => rows_of::<3, true>(tile, out),
            (4, 4) => rows_of::<4, true>(tile, out),
            (4, 5) => rows_of::<5, true>(tile, out),
            (4, 6) => rows_of::<6, true>(tile, out),
            (4, 7) => rows_of::<7, true>(tile, out),
            (4, _) => rows_of::<8, true>(tile, out),
            (_, 1) => rows_of::<1, false>(tile, out),
            (_, 2) => rows_of::<2, false>(tile, out),
            (_, 3) => rows_of::<3, false>(tile, out),
            (_, 4) => rows_of::<4, false>(tile, out),
            (_, 5) => rows_of::<5, false>(tile, out),
            (_, 6) => rows_of::<6, false>(tile, out),
            (_, 7) => rows_of::<7, false>(tile, out),
            (_, _) => rows_of::<8, false>(tile, out),
        }
    }
}

/// # Safety
/// As for [`tile`], of `M` rows; `HALVES` for weights of four bits.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn rows_of<const M: usize, const HALVES: bool>(tile: &Tile<'_>, out: &mut [[f32; COLUMNS]; ROWS]) {
    let weights = tile.weights;
    let (group, chunks) = (weights.group(), weights.chunks());
    let common = i32::from(weights.common_zero_point());
    let low = _mm512_set1_epi8(15);
    let values: [*const i8; M] = std::array::from_fn(|m| tile.activations.values(tile.row + m));
    let steps: [*const f32; M] = std::array::from_fn(|m| tile.activations.steps(tile.row + m));
    let row_sums: [*const i32; M] = std::array::from_fn(|m| tile.activations.sums(tile.row + m));
    let mut y = [_mm512_setzero_ps(); M];
    let (groups, zero_points) = (weights.groups(), weights.zero_points(tile.block, 0));
    let (scales, first) = (weights.scales(tile.block, 0), weights.chunk(tile.block, 0));
    for g in 0..groups {
        let chunk = first.wrapping_add(g * chunks * CHUNK);
        // SAFETY: groups of the block and of the rows; what is prefetched need not exist.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); M];
            // The other half of the sums of one or two rows, whose additions would wait for one another.
            let mut others = [_mm512_setzero_si512(); M];
            if zero_points.is_null() {
                for m in 0..M {
                    sums[m] = _mm512_set1_epi32(-common * *row_sums[m].add(g));
                }
            } else {
                let zeros = zero_points.add(g * COLUMNS);
                let zeros = _mm512_cvtepu8_epi32(_mm_loadu_si128(zeros.cast()));
                for m in 0..M {
                    sums[m] = _mm512_mullo_epi32(zeros, _mm512_set1_epi32(-*row_sums[m].add(g)));
                }
            }
            for i in 0..chunks {
                if M <= 2 {
                    _mm_prefetch(chunk.wrapping_add(AHEAD + i * CHUNK).cast(), _MM_HINT_T0);
                }
                let w = _mm512_loadu_si512(chunk.add(i * CHUNK).cast());
                let four = |m: usize, k: usize| {
                    let four = values[m].add(g * group + k).cast::<i32>().read_unaligned();
                    _mm512_set1_epi32(four)
                };
                if HALVES {
                    let (first, second) =
                        (_mm512_and_si512(w, low), _mm512_and_si512(_mm512_srli_epi16(w, 4), low));
                    for m in 0..M {
                        sums[m] = _mm512_dpbusd_epi32(sums[m], first, four(m, i * 8));
                        if M <= 2 {
                            others[m] = _mm512_dpbusd_epi32(others[m], second, four(m, i * 8 + 4));
                        } else {
                            sums[m] = _mm512_dpbusd_epi32(sums[m], second, four(m, i * 8 + 4));
                        }
                    }
                } else {
                    for m in 0..M {
                        if M <= 2 && i % 2 == 1 {
                            others[m] = _mm512_dpbusd_epi32(others[m], w, four(m, i * 4));
                        } else {
                            sums[m] = _mm512_dpbusd_epi32(sums[m], w, four(m, i * 4));
                        }
                    }
                }
            }
            let scales = _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(g * COLUMNS).cast()));
            for m in 0..M {
                let sum = if M <= 2 { _mm512_add_epi32(sums[m], others[m]) } else { sums[m] };
                let factor = _mm512_mul_ps(scales, _mm512_set1_ps(*steps[m].add(g)));
                y[m] = _mm512_add_ps(y[m], _mm512_mul_ps(_mm512_cvtepi32_ps(sum), factor));
            }
        }
    }
    for (y, out) in y.into_iter().zip(out) {
        // SAFETY: sixteen values.
        unsafe {
            let units = _mm512_loadu_ps(weights.units(tile.block));
            _mm512_storeu_ps(out.as_mut_ptr(), _mm512_mul_ps(y, units));
        }
    }
}
