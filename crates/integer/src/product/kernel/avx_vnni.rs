//! AVX-VNNI: `vpdpbusd` on 256 bits, for CPUs without AVX-512.

use super::super::packing::{BLOCK, WORD};
use super::{Kernel, Tile, TileFn};
use std::arch::x86_64::*;
use std::array;

/// Vectors of a block.
const HALVES: usize = 2;

pub(super) static KERNEL: Kernel = Kernel { tiles: &[&TILES], speed: 3, has_tile_registers: false };

static TILES: [TileFn; 6] = [tile::<1>, tile::<2>, tile::<3>, tile::<4>, tile::<5>, tile::<6>];

/// # Safety
/// As for [`Kernel::run`], for `ROWS` rows and one block, and the CPU has AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn tile<const ROWS: usize>(t: &Tile) {
    // SAFETY: the tile vouches for its rows, runs, panel, starts and sums.
    unsafe {
        let start: [__m256i; HALVES] =
            array::from_fn(|half| _mm256_loadu_si256(t.start.add(half * 8).cast()));
        let mut sums = [start; ROWS];
        let mut panel = t.panel;
        for run in 0..t.run_count {
            let offset = *t.runs.add(run);
            let mut rows: [*const u8; ROWS] = array::from_fn(|row| (*t.rows.add(row)).offset(offset));
            for _ in 0..t.words {
                let weights: [__m256i; HALVES] =
                    array::from_fn(|half| _mm256_loadu_si256(panel.add(half * 32).cast()));
                for row in 0..ROWS {
                    let word = _mm256_set1_epi32(rows[row].cast::<i32>().read_unaligned());
                    for half in 0..HALVES {
                        sums[row][half] = _mm256_dpbusd_avx_epi32(sums[row][half], word, weights[half]);
                    }
                    rows[row] = rows[row].add(WORD);
                }
                panel = panel.add(BLOCK * WORD);
            }
        }
        for row in 0..ROWS {
            for half in 0..HALVES {
                let to = t.sums.add(row * t.sums_stride + half * 8);
                _mm256_storeu_si256(to.cast(), sums[row][half]);
            }
        }
    }
}
