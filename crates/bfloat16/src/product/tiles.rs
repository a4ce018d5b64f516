//! The loops around the tile registers: pieces of lines of up to 16 pixels, two at a time.

use super::blocks::{Product, Sums};
use crate::kernel::BLOCK;
use crate::kernel::amx::{Chunks, TILE_ROWS, TileJob, Tiles};
use std::ops::Range;

/// Sums from one row of a piece to the next.
const STRIDE: usize = 2 * BLOCK;

/// Sums of a piece.
const PIECE: usize = TILE_ROWS * STRIDE;

/// Bytes of weights that stay in L1 beside rows and sums.
const NEAR_BYTES: usize = 20 * 1024;

/// Pixels of a line that are computed together.
#[derive(Clone, Copy)]
struct Piece {
    line: usize,
    x: usize,
    /// Pixels at the beginning that the piece before has as well: all pieces are equally long.
    skip: usize,
}

/// Up to two pieces times up to two blocks whose sums have been made.
struct Made {
    pieces: (Piece, Option<Piece>),
    blocks: Range<usize>,
    sums: *mut f32,
}

impl Product<'_> {
    /// Computes these lines of these panels.
    ///
    /// # Safety
    /// As for [`run`](Self::run); the process may use the tile registers.
    pub(super) unsafe fn run_tiles(&self, chunks: Chunks, lines: Range<usize>, panels: Range<usize>) {
        if self.width == 0 || lines.is_empty() {
            return;
        }
        let of_line = self.width.div_ceil(TILE_ROWS);
        let rows = self.width.div_ceil(of_line);
        let piece = |number: usize| {
            let wanted = number % of_line * rows;
            let x = wanted.min(self.width - rows);
            Piece { line: lines.start + number / of_line, x, skip: wanted - x }
        };
        let count = lines.len() * of_line;
        let mut sums = Sums([0.0; 4 * PIECE]);
        let sums = sums.0.as_mut_ptr();
        // SAFETY: as granted by the caller; these are the only tiles here.
        let tiles = unsafe { Tiles::configure(rows, chunks) };
        // The sums of one step become outputs while the tiles make those of the next.
        let mut last: Option<Made> = None;
        let mut turn = 0;
        let block_bytes = self.columns.block_len() * size_of::<u16>();
        for panel in &self.columns.panels()[panels] {
            // As many blocks as stay in L1 are computed for one pair of pieces after another: outputs of a row that
            // follow each other are then written together.
            let together = if block_bytes * panel.len() <= NEAR_BYTES { panel.len() } else { 2 };
            for group in panel.clone().step_by(together) {
                let end = panel.end.min(group + together);
                for number in (0..count).step_by(2) {
                    let second = (number + 1 < count).then(|| piece(number + 1));
                    for first in (group..end).step_by(2) {
                        let made = Made {
                            pieces: (piece(number), second),
                            blocks: first..end.min(first + 2),
                            sums: sums.wrapping_add(turn * 2 * PIECE),
                        };
                        turn ^= 1;
                        // SAFETY: pieces of the lines and blocks of the panels that the caller grants; the sums have
                        // room for two steps.
                        unsafe {
                            self.multiply(&tiles, chunks, &made);
                            self.fetch_outputs(&made, rows);
                            if let Some(last) = last.replace(made) {
                                self.finish(&last, rows);
                            }
                        }
                    }
                }
            }
        }
        if let Some(last) = last {
            // SAFETY: as above.
            unsafe { self.finish(&last, rows) };
        }
    }

    /// # Safety
    /// As for [`run_tiles`](Self::run_tiles).
    #[inline(always)]
    unsafe fn multiply(&self, tiles: &Tiles, chunks: Chunks, made: &Made) {
        let row = |piece: Piece| self.pixel(piece.line, piece.x);
        let (first, second) = made.pieces;
        let job = TileJob {
            rows: (row(first), row(second.unwrap_or(first))),
            row_step: self.input.pixel_step,
            runs: self.runs.as_ptr(),
            run_count: self.runs.len(),
            chunks,
            panel: self.packed.wrapping_add(made.blocks.start * self.columns.block_len()),
            block_len: self.columns.block_len(),
            sums: (made.sums, made.sums.wrapping_add(PIECE)),
            sums_stride: STRIDE,
        };
        // SAFETY: as granted by the caller.
        unsafe {
            match (second.is_some(), made.blocks.len() > 1) {
                (true, true) => tiles.run::<true, true>(&job),
                (true, false) => tiles.run::<true, false>(&job),
                (false, true) => tiles.run::<false, true>(&job),
                (false, false) => tiles.run::<false, false>(&job),
            }
        }
    }

    /// Asks for the lines that outputs go to: they have arrived when the sums are there.
    #[inline(always)]
    fn fetch_outputs(&self, made: &Made, rows: usize) {
        let bytes = made.blocks.len() * BLOCK * size_of::<f32>();
        let (first, second) = made.pieces;
        for piece in [Some(first), second].into_iter().flatten() {
            let at = piece.line as isize * self.out.line_step + piece.x as isize * self.out.pixel_step;
            let mut row = self.out.base.wrapping_offset(at).wrapping_add(made.blocks.start * BLOCK);
            for _ in 0..rows {
                for byte in (0..=bytes).step_by(64) {
                    prefetch_to_write(row.cast::<u8>().wrapping_add(byte.min(bytes - 1)));
                }
                row = row.wrapping_offset(self.out.pixel_step);
            }
        }
    }

    /// # Safety
    /// As for [`run_tiles`](Self::run_tiles); the sums are there.
    #[inline(always)]
    unsafe fn finish(&self, made: &Made, rows: usize) {
        let (first, second) = made.pieces;
        for (i, piece) in [Some(first), second].into_iter().flatten().enumerate() {
            let sums = made.sums.wrapping_add(i * PIECE + piece.skip * STRIDE);
            let at = (piece.line, piece.x + piece.skip);
            let block = self.sums_of(&made.blocks, sums, STRIDE, at, rows - piece.skip);
            // SAFETY: as granted by the caller.
            unsafe { block.finish(self.columns.isa(), self.epilogue) };
        }
    }
}

#[inline(always)]
fn prefetch_to_write(p: *const u8) {
    use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
    // SAFETY: a prefetch does not access memory, and a CPU with tiles has the instruction.
    unsafe { _mm_prefetch::<_MM_HINT_ET0>(p.cast()) };
}
