//! AVX2 without VNNI: bytes are widened to 16 bits, because `vpmaddubsw` would saturate the sum of two products.
//!
//! A vector of sums holds four columns, two halves each, which are added at the end.

use super::super::packing::{BLOCK, WORD};
use super::{Kernel, Tile, TileFn};
use std::arch::x86_64::*;
use std::array;

/// Vectors of widened weights in a block: four columns each.
const QUARTERS: usize = 4;

pub(super) static KERNEL: Kernel = Kernel { tiles: &[&TILES], speed: 1, has_tile_registers: false };

static TILES: [TileFn; 3] = [tile::<1>, tile::<2>, tile::<3>];

/// # Safety
/// As for [`Kernel::run`], for `ROWS` rows and one block, and the CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn tile<const ROWS: usize>(t: &Tile) {
    // SAFETY: the tile vouches for its rows, runs, panel, starts and sums.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); QUARTERS]; ROWS];
        let mut panel = t.panel;
        for run in 0..t.run_count {
            let offset = *t.runs.add(run);
            let mut rows: [*const u8; ROWS] = array::from_fn(|row| (*t.rows.add(row)).offset(offset));
            for _ in 0..t.words {
                let words: [__m256i; ROWS] = array::from_fn(|row| {
                    let word = rows[row].cast::<i32>().read_unaligned();
                    _mm256_cvtepu8_epi16(_mm_set1_epi32(word))
                });
                for quarter in 0..QUARTERS {
                    let bytes = _mm_loadu_si128(panel.add(quarter * 16).cast());
                    let weights = _mm256_cvtepi8_epi16(bytes);
                    for row in 0..ROWS {
                        let products = _mm256_madd_epi16(words[row], weights);
                        sums[row][quarter] = _mm256_add_epi32(sums[row][quarter], products);
                    }
                }
                for row in &mut rows {
                    *row = row.add(WORD);
                }
                panel = panel.add(BLOCK * WORD);
            }
        }
        for row in 0..ROWS {
            for half in 0..2 {
                // Within each 128 bits: columns a a b b | c c d d of both become a b a b | c d c d.
                let pairs = _mm256_hadd_epi32(sums[row][2 * half], sums[row][2 * half + 1]);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
                let start = _mm256_loadu_si256(t.start.add(half * 8).cast());
                let to = t.sums.add(row * t.sums_stride + half * 8);
                _mm256_storeu_si256(to.cast(), _mm256_add_epi32(ordered, start));
            }
        }
    }
}
