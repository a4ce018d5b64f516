//! The oracle: one output after the other.

use super::weights::CHUNK;
use super::{COLUMNS, ROWS, Tile};

/// Computes the columns of a block for `rows` rows.
///
/// # Safety
/// The block and the rows exist.
pub(super) unsafe fn tile(tile: &Tile<'_>, rows: usize, out: &mut [[f32; COLUMNS]; ROWS]) {
    let (weights, activations) = (tile.weights, tile.activations);
    let group = weights.group();
    for (i, out) in out[..rows].iter_mut().enumerate() {
        let row = tile.row + i;
        for (column, out) in out.iter_mut().enumerate() {
            let mut y = 0.0;
            for g in 0..weights.groups() {
                // SAFETY: groups of the row and of the block, whose memory is laid out so.
                unsafe {
                    let zero_points = weights.zero_points(tile.block, g);
                    let zero_point = match zero_points.is_null() {
                        true => weights.common_zero_point(),
                        false => *zero_points.add(column),
                    };
                    let values = activations.values(row).add(g * group);
                    let chunk = weights.chunk(tile.block, g);
                    let mut sum = 0;
                    for k in 0..group {
                        let w = match weights.bits() {
                            8 => *chunk.add(k / 4 * CHUNK + column * 4 + k % 4),
                            _ => *chunk.add(k / 8 * CHUNK + column * 4 + k % 4) >> (k % 8 / 4 * 4) & 15,
                        };
                        sum += i32::from(*values.add(k)) * i32::from(w);
                    }
                    sum -= i32::from(zero_point) * *activations.sums(row).add(g);
                    let scale = (*weights.scales(tile.block, g).add(column)).to_f32();
                    y += sum as f32 * (scale * *activations.steps(row).add(g));
                }
            }
            // SAFETY: a column of the block.
            *out = y * unsafe { *weights.units(tile.block).add(column) };
        }
    }
}
