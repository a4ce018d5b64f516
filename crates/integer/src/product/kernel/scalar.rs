//! The oracle: sums in plain loops. They wrap, as those of vector instructions do.

use super::super::packing::{BLOCK, WORD};
use super::{Kernel, Tile, TileFn};

static TILES: [TileFn; 12] = [tile; 12];

pub(super) static KERNEL: Kernel =
    Kernel { tiles: &[&TILES, &TILES, &TILES, &TILES], speed: 1, has_tile_registers: false };

/// # Safety
/// As for [`Kernel::run`].
unsafe fn tile(t: &Tile) {
    for row in 0..t.height {
        for column in 0..t.blocks * BLOCK {
            // SAFETY: the tile vouches for its rows, runs, panel, starts and sums.
            unsafe {
                let mut panel = t.panel.add(column / BLOCK * t.block_bytes + column % BLOCK * WORD);
                let mut sum = *t.start.add(column);
                for run in 0..t.run_count {
                    let bytes = (*t.rows.add(row)).offset(*t.runs.add(run));
                    for word in 0..t.words {
                        for i in 0..WORD {
                            let product = i32::from(*bytes.add(word * WORD + i)) * i32::from(*panel.add(i));
                            sum = sum.wrapping_add(product);
                        }
                        panel = panel.add(BLOCK * WORD);
                    }
                }
                *t.sums.add(row * t.sums_stride + column) = sum;
            }
        }
    }
}
