//! Matrix products with weights of four or eight bits whose groups along the depth have scales of their own.
//!
//! Each group of a row of activations is quantised to i8 by itself, so that products are sums of bytes:
//!
//! ```text
//! d[m, g]   = max |a[m, group g]| / 127
//! q[m, k]   = clamp(rint(a[m, k] / d[m, g]), -127, 127)          the division as a product with the reciprocal
//! y[m, n]   = (sum over g of f32(sum over k of q[m, k] (w[n, k] - zero[n, g])) (scale[n, g] d[m, g])) unit[n]
//! ```
//!
//! The sums of bytes are exact, and those of floats are taken in the order of the groups, each operation rounded by
//! itself, so every level computes the same bits.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;
mod weights;

pub use weights::BlockWeights;

use crate::shared::Shared;
use activations::Activations;
use std::ops::Range;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Level, features};
use vedette_tensor::matmul::{chunk, parts_for};

/// Columns computed together: the lanes of the widest vector.
const COLUMNS: usize = 16;

/// Most rows computed together.
const ROWS: usize = 8;

/// What a tile is computed from: one block of columns and up to [`ROWS`] rows.
struct Tile<'a> {
    weights: &'a BlockWeights,
    block: usize,
    activations: &'a Activations,
    /// The first row.
    row: usize,
}

/// Computes the columns of a block for this many rows.
type TileFn = unsafe fn(&Tile<'_>, rows: usize, out: &mut [[f32; COLUMNS]; ROWS]);

fn tile_function(isa: Isa) -> TileFn {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 if features().avx512_vnni => avx512::tile,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx2 => avx2::tile,
        _ => {
            let _ = features();
            scalar::tile
        }
    }
}

/// A planned product of `rows` rows of float32 activations with packed weights.
pub struct BlockMatMulPlan {
    isa: Isa,
    tile: TileFn,
    rows: usize,
    weights: Arc<BlockWeights>,
    quantize_parts: usize,
    /// Parts by rows and by blocks of columns.
    parts: (usize, usize),
}

impl BlockMatMulPlan {
    /// Plans it.
    pub fn new(isa: Isa, threads: usize, rows: usize, weights: Arc<BlockWeights>) -> BlockMatMulPlan {
        let (depth, columns) = (weights.depth(), weights.columns());
        // A row reads all weights from memory, so that its multiplications are not what takes the time.
        let work = (rows * depth * columns) as u64 / if rows < ROWS { 2 } else { 8 };
        let parts = parts_for(work, threads);
        let blocks = columns.div_ceil(COLUMNS);
        let parts = if rows >= 2 * ROWS * parts { (parts, 1) } else { (1, parts.min(blocks.max(1))) };
        let quantize_parts = parts_for((rows * depth) as u64, threads).min(rows.max(1));
        BlockMatMulPlan { isa, tile: tile_function(isa), rows, weights, quantize_parts, parts }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        Activations::bytes(self.rows, &self.weights)
    }

    /// Writes `a w` to `out`, `[rows, columns]`.
    ///
    /// # Safety
    /// `a` is `[rows, depth]` in C order; `out` has room for the result; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, a: *const f32, out: *mut f32, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let activations = Activations::new(self.rows, &self.weights, scratch);
        let shared = Shared::new((a, out));
        pool.run(self.quantize_parts, |part| {
            let (a, _) = shared.get();
            for row in chunk(self.rows, self.quantize_parts, part, 1) {
                // SAFETY: a row of the activations, which is this part's own.
                unsafe { activations.quantize(self.isa, row, a.wrapping_add(row * self.weights.depth())) };
            }
        });
        let (by_rows, by_blocks) = self.parts;
        let blocks = self.weights.columns().div_ceil(COLUMNS);
        pool.run(by_rows * by_blocks, |part| {
            let (_, out) = shared.get();
            let rows = chunk(self.rows, by_rows, part / by_blocks, ROWS);
            for block in chunk(blocks, by_blocks, part % by_blocks, 1) {
                // SAFETY: the parts' rows and columns are their own.
                unsafe { self.block(&activations, rows.clone(), block, out) };
            }
        });
    }

    /// # Safety
    /// `out` is the result, of which these rows and columns are the caller's own.
    unsafe fn block(&self, activations: &Activations, rows: Range<usize>, block: usize, out: *mut f32) {
        let columns = self.weights.columns();
        let width = COLUMNS.min(columns - block * COLUMNS);
        let mut sums = [[0.0; COLUMNS]; ROWS];
        for row in rows.clone().step_by(ROWS) {
            let count = ROWS.min(rows.end - row);
            let tile = Tile { weights: &self.weights, block, activations, row };
            // SAFETY: the function is for a level of this CPU; rows and block exist.
            unsafe {
                (self.tile)(&tile, count, &mut sums);
                for (i, sums) in sums[..count].iter().enumerate() {
                    let to = out.add((row + i) * columns + block * COLUMNS);
                    std::ptr::copy_nonoverlapping(sums.as_ptr(), to, width);
                }
            }
        }
    }

    /// Multiplications with addition that a run takes.
    pub fn work(&self) -> u64 {
        (self.rows * self.weights.depth() * self.weights.columns()) as u64
    }
}
