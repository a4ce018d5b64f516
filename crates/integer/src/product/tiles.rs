//! The loops around the tile registers: pieces of lines of up to 16 pixels times two blocks of columns.
//!
//! As many blocks as L1 holds stay there while piece after piece is multiplied with them; where even two are too deep
//! for that, the depth is cut and the sums of all pieces are kept in between. While the tiles multiply one piece, the sums
//! of the piece before are stored, and the vector units finish those of the piece before that.

use super::blocks::{Product, Sums};
use super::kernel::amx::{Chunks, Set, TILE_ROWS, TileJob, Tiles};
use super::packing::{BLOCK, WORD};
use crate::epilogue::{Finish, SumBlock};
use std::mem::MaybeUninit;
use std::ops::Range;
use vedette_simd::Fetch;

/// Blocks multiplied together.
const BLOCKS: usize = 2;

/// Sums from one row of a piece to the next.
const STRIDE: usize = BLOCKS * BLOCK;

/// Sums of a piece.
const PIECE: usize = TILE_ROWS * STRIDE;

/// Bytes of weights that stay in L1 beside rows, sums and outputs.
const WEIGHT_BYTES: usize = 24 * 1024;

/// Pieces that weights are read into L1 for, so that rows and outputs stay in L2 meanwhile.
const PIECES: usize = 16;

/// Pixels of a line that are computed together.
#[derive(Clone, Copy)]
struct Piece {
    line: usize,
    x: usize,
    /// Pixels at the beginning that the piece before has as well: all pieces are equally long.
    skip: usize,
}

/// A piece times two blocks on its way to outputs.
#[derive(Clone, Copy)]
struct Item {
    piece: Piece,
    block: usize,
    two: bool,
    /// Where its sums go.
    sums: *mut i32,
    /// Whether they are whole.
    last: bool,
}

/// Blocks over a part of the depth.
#[derive(Clone)]
struct Weights {
    blocks: Range<usize>,
    /// Chunks, the first and how many.
    first: usize,
    count: usize,
    at: *const i8,
}

impl<F: Finish> Product<'_, F> {
    /// Computes these lines of these panels.
    ///
    /// # Safety
    /// As for [`run`](Self::run); the process may use the tile registers.
    pub(super) unsafe fn run_tiles(&self, chunks: Chunks, lines: Range<usize>, panels: Range<usize>) {
        if self.width == 0 || lines.is_empty() || panels.is_empty() {
            return;
        }
        let of_line = self.width.div_ceil(TILE_ROWS);
        let rows = self.width.div_ceil(of_line);
        let piece = |number: usize| {
            let wanted = number % of_line * rows;
            let x = wanted.min(self.width - rows);
            Piece { line: lines.start + number / of_line, x, skip: wanted - x }
        };
        let depth = self.runs.len() * chunks.count;
        let chunk_bytes = chunks.words * WORD * BLOCK;
        let cuts = (BLOCKS * depth * chunk_bytes).div_ceil(WEIGHT_BYTES).min(depth);
        let at_once = (WEIGHT_BYTES / (BLOCKS * depth * chunk_bytes)).max(1) * BLOCKS;
        let columns = &self.columns.panels()[panels];
        let (first, end) = (columns[0].start, columns[columns.len() - 1].end);
        let weights = |number: usize| {
            let (block, cut) = (first + number / cuts * at_once, number % cuts);
            let chunk = depth * cut / cuts;
            Weights {
                blocks: block..end.min(block + at_once),
                first: chunk,
                count: depth * (cut + 1) / cuts - chunk,
                at: self.columns.block(block).wrapping_add(chunk * chunk_bytes),
            }
        };
        let parts = (end - first).div_ceil(at_once) * cuts;

        let count = lines.len() * of_line;
        // Where all weights stay in L1, each row is read and each output written but once.
        let together = if parts == 1 { count } else { count.div_ceil(count.div_ceil(PIECES)) };
        let mut kept = MaybeUninit::<Sums<{ PIECES * PIECE }>>::uninit();
        let mut sums = MaybeUninit::<Sums<{ 2 * PIECE }>>::uninit();
        let (kept, sums) = (kept.as_mut_ptr().cast::<i32>(), sums.as_mut_ptr().cast::<i32>());
        let (mut set, mut in_tiles, mut stored) = (Set::First, None::<Item>, None::<Item>);
        // SAFETY: as granted by the caller; these are the only tiles here. Sums are read where a piece has stored them.
        unsafe {
            let tiles = Tiles::configure(rows, chunks);
            for start in (0..count).step_by(together) {
                let pieces = start..count.min(start + together);
                for part in 0..parts {
                    let here = weights(part);
                    let (is_first, is_last) = (here.first == 0, part % cuts == cuts - 1);
                    let ahead = (part + 1 < parts).then(|| weights(part + 1));
                    let steps = pieces.len() * here.blocks.len().div_ceil(BLOCKS) * here.count;
                    let mut fetch = self.fetch(ahead, chunk_bytes, steps);
                    for number in pieces.clone() {
                        let piece = piece(number);
                        for block in here.blocks.clone().step_by(BLOCKS) {
                            let two = block + 1 < here.blocks.end;
                            let own = kept.wrapping_add((number - start) * PIECE * usize::from(cuts > 1));
                            // A single piece goes on with the sums that are still in the tiles.
                            if !is_first && let Some(item) = in_tiles.take_if(|item| item.sums == own) {
                                tiles.store(set.other(), item.two, item.sums, STRIDE);
                            }
                            let job = self.job(chunks, piece, &here, block, (!is_first).then_some(own));
                            tiles.multiply(set, two, &job, || fetch.step());
                            let half = sums.wrapping_add(if set == Set::First { 0 } else { PIECE });
                            let sums = if is_last { half } else { own };
                            let before = in_tiles.replace(Item { piece, block, two, sums, last: is_last });
                            set = set.other();
                            if let Some(item) = before {
                                tiles.store(set, item.two, item.sums, STRIDE);
                            }
                            if let Some(item) = stored {
                                self.finish_item(item, rows);
                            }
                            stored = before.filter(|item| item.last);
                        }
                    }
                }
            }
            if let Some(item) = stored {
                self.finish_item(item, rows);
            }
            if let Some(item) = in_tiles {
                tiles.store(set.other(), item.two, item.sums, STRIDE);
                self.finish_item(item, rows);
            }
        }
    }

    /// Weights to ask for in so many steps.
    #[inline(always)]
    fn fetch(&self, ahead: Option<Weights>, chunk_bytes: usize, steps: usize) -> Fetch<BLOCKS> {
        let Some(ahead) = ahead else { return Fetch::NOTHING };
        let second = ahead.at.wrapping_add(self.columns.block_bytes() * usize::from(ahead.blocks.len() > 1));
        Fetch::new([ahead.at.cast(), second.cast()], ahead.count * chunk_bytes, steps)
    }

    #[inline(always)]
    fn job(
        &self,
        chunks: Chunks,
        piece: Piece,
        weights: &Weights,
        block: usize,
        begin: Option<*mut i32>,
    ) -> TileJob {
        let (line, x) = (piece.line as isize, piece.x as isize);
        let at = line * self.input.line_step + x * self.input.pixel_step;
        TileJob {
            rows: self.input.base.wrapping_offset(at),
            row_step: self.input.pixel_step,
            runs: self.runs.as_ptr(),
            chunks,
            first: weights.first,
            count: weights.count,
            panel: weights.at.wrapping_add((block - weights.blocks.start) * self.columns.block_bytes()),
            block_bytes: self.columns.block_bytes(),
            begin: begin.map_or(self.columns.start(block), <*mut i32>::cast_const),
            begin_stride: if begin.is_some() { STRIDE } else { 0 },
        }
    }

    /// # Safety
    /// As for [`run_tiles`](Self::run_tiles); the sums of the item are stored.
    #[inline(always)]
    unsafe fn finish_item(&self, item: Item, rows: usize) {
        let Piece { line, x, skip } = item.piece;
        let (channel, x) = (item.block * BLOCK, x + skip);
        let blocks = if item.two { BLOCKS } else { 1 };
        let at = line as isize * self.out.line_step + x as isize * self.out.pixel_step + channel as isize;
        let (out, residual) = self.outputs(at);
        let block = SumBlock {
            sums: item.sums.wrapping_add(skip * STRIDE),
            sums_stride: STRIDE,
            rows: rows - skip,
            channel: self.channel + channel,
            columns: (self.columns.columns() - channel).min(blocks * BLOCK),
            out,
            out_stride: self.out.pixel_step as usize,
            residual,
            residual_stride: self.out.pixel_step as usize,
        };
        // SAFETY: as granted by the caller.
        unsafe { self.epilogue.finish(&block, self.first_row + line * self.width + x) };
    }
}
