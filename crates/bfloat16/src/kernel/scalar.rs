//! The oracle: sums in plain loops.

use super::{BLOCK, Kernel, Tile, TileFn, WORD};
use vedette_simd::bf16_value;

static TILES: [TileFn; 12] = [tile; 12];

pub(super) static KERNEL: Kernel =
    Kernel { tiles: &[&TILES, &TILES, &TILES, &TILES], speed: 1, has_tile_registers: false };

/// # Safety
/// As for [`Kernel::run`].
unsafe fn tile(t: &Tile) {
    for row in 0..t.height {
        for column in 0..t.blocks * BLOCK {
            // SAFETY: the tile vouches for its rows, runs, panel and sums.
            unsafe {
                let mut panel = t.panel.add(column / BLOCK * t.block_len + column % BLOCK * WORD);
                let mut sum = 0.0;
                for run in 0..t.run_count {
                    let values = (*t.rows.add(row)).offset(*t.runs.add(run));
                    for word in 0..t.words {
                        for i in 0..WORD {
                            sum += bf16_value(*values.add(word * WORD + i)) * bf16_value(*panel.add(i));
                        }
                        panel = panel.add(BLOCK * WORD);
                    }
                }
                *t.sums.add(row * t.sums_stride + column) = sum;
            }
        }
    }
}
