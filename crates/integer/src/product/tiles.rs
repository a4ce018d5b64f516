//! The loops around the tile registers: pieces of lines of up to 16 pixels, two at a time.

use super::blocks::{Product, Sums};
use super::kernel::MAX_BLOCKS;
use super::kernel::amx::{Chunks, TILE_ROWS, TileJob, Tiles};
use super::packing::BLOCK;
use crate::epilogue::{Finish, SumBlock};
use std::ops::Range;

/// Sums from one row of a piece to the next: those of a whole panel, so that epilogues work on long rows.
const STRIDE: usize = MAX_BLOCKS * BLOCK;

/// Sums of a piece.
const PIECE: usize = TILE_ROWS * STRIDE;

/// Pixels of a line that are computed together.
#[derive(Clone, Copy)]
struct Piece {
    line: usize,
    x: usize,
    /// Pixels at the beginning that the piece before has as well: all pieces are equally long.
    skip: usize,
}

impl<F: Finish> Product<'_, F> {
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
        let block = (self.pixels_at_once(panels.len()) / rows).next_multiple_of(2).min(count);
        let mut sums = Sums([0; 2 * PIECE]);
        // SAFETY: as granted by the caller; these are the only tiles here.
        let tiles = unsafe { Tiles::configure(rows, chunks) };
        for start in (0..count).step_by(block) {
            let end = count.min(start + block);
            for blocks in &self.columns.panels()[panels.clone()] {
                for number in (start..end).step_by(2) {
                    // Where the number is odd, the last piece is computed twice.
                    let pair = (piece(number), piece((number + 1).min(end - 1)));
                    let to = sums.0.as_mut_ptr();
                    // SAFETY: pieces of the lines and blocks of the panels that the caller grants.
                    unsafe {
                        self.multiply(&tiles, chunks, pair, blocks.clone(), to);
                        self.finish_piece(pair.0, rows, blocks, to);
                        if number + 1 < end {
                            self.finish_piece(pair.1, rows, blocks, to.add(PIECE));
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`run_tiles`](Self::run_tiles).
    #[inline(always)]
    unsafe fn multiply(
        &self,
        tiles: &Tiles,
        chunks: Chunks,
        pair: (Piece, Piece),
        blocks: Range<usize>,
        sums: *mut i32,
    ) {
        let row = |piece: Piece| {
            let (line, x) = (piece.line as isize, piece.x as isize);
            self.input.base.wrapping_offset(line * self.input.line_step + x * self.input.pixel_step)
        };
        let mut job = TileJob {
            rows: (row(pair.0), row(pair.1)),
            row_step: self.input.pixel_step,
            runs: self.runs.as_ptr(),
            run_count: self.runs.len(),
            chunks,
            panel: self.columns.block(blocks.start),
            block_bytes: self.columns.block_bytes(),
            start: self.columns.start(blocks.start),
            sums: (sums, sums.wrapping_add(PIECE)),
            sums_stride: STRIDE,
        };
        for first in blocks.clone().step_by(2) {
            // SAFETY: as granted by the caller; the sums have room for four blocks.
            unsafe {
                match first + 1 < blocks.end {
                    true => tiles.run::<true>(&job),
                    false => tiles.run::<false>(&job),
                }
            }
            job.panel = job.panel.wrapping_add(2 * job.block_bytes);
            job.start = job.start.wrapping_add(2 * BLOCK);
            job.sums = (job.sums.0.wrapping_add(2 * BLOCK), job.sums.1.wrapping_add(2 * BLOCK));
        }
    }

    /// # Safety
    /// As for [`run_tiles`](Self::run_tiles); the sums are those of the piece.
    #[inline(always)]
    unsafe fn finish_piece(&self, piece: Piece, rows: usize, blocks: &Range<usize>, sums: *const i32) {
        let channel = blocks.start * BLOCK;
        let x = piece.x + piece.skip;
        let at =
            piece.line as isize * self.out.line_step + x as isize * self.out.pixel_step + channel as isize;
        let (out, residual) = self.outputs(at);
        let block = SumBlock {
            sums: sums.wrapping_add(piece.skip * STRIDE),
            sums_stride: STRIDE,
            rows: rows - piece.skip,
            channel: self.channel + channel,
            columns: (self.columns.columns() - channel).min(blocks.len() * BLOCK),
            out,
            out_stride: self.out.pixel_step as usize,
            residual,
            residual_stride: self.out.pixel_step as usize,
        };
        // SAFETY: as granted by the caller.
        unsafe { self.epilogue.finish(&block, self.first_row + piece.line * self.width + x) };
    }
}
