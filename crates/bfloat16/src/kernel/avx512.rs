//! AVX-512 BF16: `vdpbf16ps` adds two products to each of 16 sums.
//!
//! The shapes fill the 32 registers with sums: every word of a row is broadcast once for all blocks, every vector of
//! weights is loaded once for all rows.

use super::{BLOCK, Kernel, Tile, TileFn, WORD};
use std::arch::x86_64::*;
use std::array;
use std::mem::transmute;

pub(super) static KERNEL: Kernel = Kernel { tiles: &TILES, speed: 2, has_tile_registers: false };

/// The same where AMX does what it can.
pub(super) static BESIDE_AMX: Kernel = Kernel { tiles: &TILES, speed: 10, has_tile_registers: true };

static TILES: [&[TileFn]; 4] = [&TILES_1, &TILES_2, &TILES_3, &TILES_4];

macro_rules! tiles {
    ($blocks:literal: $($rows:literal)*) => { [$(tile::<$rows, $blocks>),*] };
}

static TILES_1: [TileFn; 12] = tiles!(1: 1 2 3 4 5 6 7 8 9 10 11 12);
static TILES_2: [TileFn; 12] = tiles!(2: 1 2 3 4 5 6 7 8 9 10 11 12);
static TILES_3: [TileFn; 9] = tiles!(3: 1 2 3 4 5 6 7 8 9);
static TILES_4: [TileFn; 6] = tiles!(4: 1 2 3 4 5 6);

/// # Safety
/// As for [`Kernel::run`], for `ROWS` rows and `BLOCKS` blocks, and the CPU has AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile<const ROWS: usize, const BLOCKS: usize>(t: &Tile) {
    // SAFETY: the tile vouches for its rows, runs, panel and sums; vectors of 32 values are vectors of 512 bits.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); BLOCKS]; ROWS];
        let mut panel = t.panel;
        for run in 0..t.run_count {
            let offset = *t.runs.add(run);
            let mut rows: [*const u16; ROWS] = array::from_fn(|row| (*t.rows.add(row)).offset(offset));
            for _ in 0..t.words {
                let weights: [__m512bh; BLOCKS] = array::from_fn(|block| {
                    transmute::<__m512i, __m512bh>(_mm512_loadu_si512(panel.add(block * t.block_len).cast()))
                });
                for row in 0..ROWS {
                    let word = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(
                        rows[row].cast::<i32>().read_unaligned(),
                    ));
                    for block in 0..BLOCKS {
                        sums[row][block] = _mm512_dpbf16_ps(sums[row][block], word, weights[block]);
                    }
                    rows[row] = rows[row].add(WORD);
                }
                panel = panel.add(BLOCK * WORD);
            }
        }
        for row in 0..ROWS {
            for block in 0..BLOCKS {
                _mm512_storeu_ps(t.sums.add(row * t.sums_stride + block * BLOCK), sums[row][block]);
            }
        }
    }
}
