//! Eight columns a vector, four bytes of each a lane.

use super::weights::CHUNK;
use super::{COLUMNS, ROWS, Tile};
use std::arch::x86_64::*;

/// Computes the columns of a block for `rows` rows.
///
/// # Safety
/// The block and the rows exist; the CPU has AVX2 and F16C.
pub(super) unsafe fn tile(tile: &Tile<'_>, rows: usize, out: &mut [[f32; COLUMNS]; ROWS]) {
    // Two rows at a time, as each takes registers for both halves of the columns.
    for first in (0..rows).step_by(2) {
        let part = Tile { row: tile.row + first, ..*tile };
        // SAFETY: as granted by the caller.
        unsafe {
            match (tile.weights.bits(), rows - first) {
                (4, 1) => rows_of::<1, true>(&part, &mut out[first..]),
                (4, _) => rows_of::<2, true>(&part, &mut out[first..]),
                (_, 1) => rows_of::<1, false>(&part, &mut out[first..]),
                (_, _) => rows_of::<2, false>(&part, &mut out[first..]),
            }
        }
    }
}

/// Pairs of products of a half byte with an i8 that 16 bits hold the sum of: a pair is at most 2 * 15 * 127.
const SHORT: usize = 8;

/// # Safety
/// As for [`tile`], of `M` rows; `HALVES` for weights of four bits.
#[target_feature(enable = "avx2,f16c")]
unsafe fn rows_of<const M: usize, const HALVES: bool>(tile: &Tile<'_>, out: &mut [[f32; COLUMNS]]) {
    let weights = tile.weights;
    let (group, chunks) = (weights.group(), weights.chunks());
    let common = i32::from(weights.common_zero_point());
    let low = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let mut y = [[_mm256_setzero_ps(); 2]; M];
    for g in 0..weights.groups() {
        let zero_points = weights.zero_points(tile.block, g);
        let chunk = weights.chunk(tile.block, g);
        // SAFETY: groups of the block and of the rows.
        unsafe {
            let values: [*const i8; M] =
                std::array::from_fn(|m| tile.activations.values(tile.row + m).wrapping_add(g * group));
            // Of the low and the high halves of the bytes; with eight bits the high ones count sixteenfold.
            let mut sums = [[[_mm256_setzero_si256(); 2]; 2]; M];
            // Chunks whose sums of pairs fit 16 bits.
            for first in (0..chunks).step_by(SHORT) {
                let mut short = [[[_mm256_setzero_si256(); 2]; 2]; M];
                for i in first..chunks.min(first + SHORT) {
                    for half in 0..2 {
                        let w = _mm256_loadu_si256(chunk.add(i * CHUNK + half * 32).cast());
                        let parts =
                            [_mm256_and_si256(w, low), _mm256_and_si256(_mm256_srli_epi16(w, 4), low)];
                        for m in 0..M {
                            for (part, &w) in parts.iter().enumerate() {
                                let k = if HALVES { i * 8 + part * 4 } else { i * 4 };
                                let four = values[m].add(k).cast::<i32>().read_unaligned();
                                let pairs = _mm256_maddubs_epi16(w, _mm256_set1_epi32(four));
                                let sum = &mut short[m][half][part];
                                *sum = _mm256_add_epi16(*sum, pairs);
                            }
                        }
                    }
                }
                for m in 0..M {
                    for half in 0..2 {
                        for part in 0..2 {
                            let wide = _mm256_madd_epi16(short[m][half][part], ones);
                            sums[m][half][part] = _mm256_add_epi32(sums[m][half][part], wide);
                        }
                    }
                }
            }
            for m in 0..M {
                let row_sum = *tile.activations.sums(tile.row + m).add(g);
                let step = _mm256_set1_ps(*tile.activations.steps(tile.row + m).add(g));
                for half in 0..2 {
                    let [first, second] = sums[m][half];
                    let second = if HALVES { second } else { _mm256_slli_epi32(second, 4) };
                    let zeros = if zero_points.is_null() {
                        _mm256_set1_epi32(common)
                    } else {
                        _mm256_cvtepu8_epi32(_mm_loadl_epi64(zero_points.add(half * 8).cast()))
                    };
                    let zeros = _mm256_mullo_epi32(zeros, _mm256_set1_epi32(row_sum));
                    let sum = _mm256_sub_epi32(_mm256_add_epi32(first, second), zeros);
                    let scales = weights.scales(tile.block, g).add(half * 8);
                    let scales = _mm256_cvtph_ps(_mm_loadu_si128(scales.cast()));
                    let factor = _mm256_mul_ps(scales, step);
                    y[m][half] = _mm256_add_ps(y[m][half], _mm256_mul_ps(_mm256_cvtepi32_ps(sum), factor));
                }
            }
        }
    }
    for (y, out) in y.into_iter().zip(out) {
        for (half, y) in y.into_iter().enumerate() {
            // SAFETY: eight of the sixteen values.
            unsafe {
                let units = _mm256_loadu_ps(weights.units(tile.block).add(half * 8));
                _mm256_storeu_ps(out.as_mut_ptr().add(half * 8), _mm256_mul_ps(y, units));
            }
        }
    }
}
