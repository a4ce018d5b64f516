//! The loops around the tile registers: pieces of lines of up to 16 pixels times two blocks of columns.
//!
//! As many blocks as L1 holds stay there while piece after piece is multiplied with them; where even two are too deep
//! for that, the depth is cut and the sums of all pieces are kept in between. While the tiles multiply one piece, the sums
//! of the piece before are stored, and the vector units finish those of the piece before that: some rows after every
//! chunk, as the CPU does not look far enough ahead to overlap one whole piece with another.

use super::blocks::{Product, Sums};
use super::kernel::amx::{Chunks, Set, TILE_ROWS, TileJob, Tiles};
use super::packing::{BLOCK, WORD};
use crate::epilogue::{Finish, Strides, SumBlock, WithWriter, Writer};
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

/// A piece times two blocks whose sums are in tiles.
#[derive(Clone, Copy)]
struct Item<R> {
    /// Where the sums go.
    sums: *mut i32,
    two: bool,
    /// What becomes of them then: nothing where they are not whole.
    rows: R,
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

/// Lines of panels of a product.
struct TileRun<'a, 'p, F> {
    product: &'a Product<'p, F>,
    chunks: Chunks,
    lines: Range<usize>,
    panels: Range<usize>,
}

impl<F: Finish> Product<'_, F> {
    /// Computes these lines of these panels.
    ///
    /// # Safety
    /// As for [`run`](Self::run); the process may use the tile registers.
    pub(super) unsafe fn run_tiles(&self, chunks: Chunks, lines: Range<usize>, panels: Range<usize>) {
        if self.width > 0 && !lines.is_empty() && !panels.is_empty() {
            // SAFETY: as granted by the caller; CPUs with tile registers have AVX-512.
            unsafe { self.epilogue.choose(&TileRun { product: self, chunks, lines, panels }) };
        }
    }

    /// Weights to ask for in so many steps.
    #[inline(always)]
    fn fetch(&self, ahead: Option<Weights>, chunk_bytes: usize, steps: usize) -> Fetch<BLOCKS> {
        let Some(ahead) = ahead else { return Fetch::NOTHING };
        let second = ahead.at.wrapping_add(self.columns.block_bytes() * usize::from(ahead.blocks.len() > 1));
        Fetch::new([ahead.at.cast(), second.cast()], ahead.count * chunk_bytes, steps)
    }

    /// What becomes of the sums of a piece and these blocks.
    #[inline(always)]
    fn outputs_of(
        &self,
        &Piece { line, x, skip }: &Piece,
        rows: usize,
        blocks: &Range<usize>,
        sums: *const i32,
    ) -> (SumBlock, usize) {
        let (channel, x) = (blocks.start * BLOCK, x + skip);
        let at = line as isize * self.out.line_step + x as isize * self.out.pixel_step + channel as isize;
        let (out, residual) = self.outputs(at);
        let block = SumBlock {
            sums: sums.wrapping_add(skip * STRIDE),
            sums_stride: STRIDE,
            rows: rows - skip,
            channel: self.channel + channel,
            columns: (self.columns.columns() - channel).min(blocks.len() * BLOCK),
            out,
            out_stride: self.out.pixel_step as usize,
            residual,
            residual_stride: self.out.pixel_step as usize,
        };
        (block, self.first_row + line * self.width + x)
    }
}

impl<F: Finish> WithWriter<F> for TileRun<'_, '_, F> {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn run<W: Writer<F>>(&self) {
        let TileRun { product, chunks, ref lines, ref panels } = *self;
        let of_line = product.width.div_ceil(TILE_ROWS);
        let rows = product.width.div_ceil(of_line);
        let piece = |number: usize| {
            let wanted = number % of_line * rows;
            let x = wanted.min(product.width - rows);
            Piece { line: lines.start + number / of_line, x, skip: wanted - x }
        };
        let depth = product.runs.len() * chunks.count;
        let chunk_bytes = chunks.words * WORD * BLOCK;
        let cuts = (BLOCKS * depth * chunk_bytes).div_ceil(WEIGHT_BYTES).min(depth);
        let at_once = (WEIGHT_BYTES / (BLOCKS * depth * chunk_bytes)).max(1) * BLOCKS;
        let columns = &product.columns.panels()[panels.clone()];
        let (first, end) = (columns[0].start, columns[columns.len() - 1].end);
        let weights = |number: usize| {
            let (block, cut) = (first + number / cuts * at_once, number % cuts);
            let chunk = depth * cut / cuts;
            Weights {
                blocks: block..end.min(block + at_once),
                first: chunk,
                count: depth * (cut + 1) / cuts - chunk,
                at: product.columns.block(block).wrapping_add(chunk * chunk_bytes),
            }
        };
        let parts = (end - first).div_ceil(at_once) * cuts;
        let block_bytes = product.columns.block_bytes();

        let count = lines.len() * of_line;
        // Where all weights stay in L1, each row is read and each output written but once.
        let together = if parts == 1 { count } else { count.div_ceil(count.div_ceil(PIECES)) };
        let mut kept = MaybeUninit::<Sums<{ PIECES * PIECE }>>::uninit();
        let mut sums = MaybeUninit::<Sums<{ 2 * PIECE }>>::uninit();
        let (kept, sums) = (kept.as_mut_ptr().cast::<i32>(), sums.as_mut_ptr().cast::<i32>());
        // SAFETY: as granted by the caller; these are the only tiles here. Sums are read where a piece has stored them.
        unsafe {
            let writer = W::new(product.epilogue);
            let step = product.out.pixel_step as usize;
            let strides = Strides { sums: STRIDE, out: step, residual: step };
            let tiles = Tiles::configure(rows, chunks);
            let nothing = writer.begin(&SumBlock::NOTHING, 0);
            let (mut set, mut left) = (Set::First, nothing);
            let mut before = Item { sums: sums.wrapping_add(PIECE), two: true, rows: nothing };
            for start in (0..count).step_by(together) {
                let pieces = start..count.min(start + together);
                for part in 0..parts {
                    let here = weights(part);
                    let (is_first, is_last) = (here.first == 0, part % cuts == cuts - 1);
                    let ahead = (part + 1 < parts).then(|| weights(part + 1));
                    let steps = pieces.len() * here.blocks.len().div_ceil(BLOCKS) * here.count;
                    let mut fetch = product.fetch(ahead, chunk_bytes, steps);
                    let (run, chunk) = (here.first / chunks.count, here.first % chunks.count);
                    let rows_at_once = rows.div_ceil(here.count).next_multiple_of(W::FEWEST_ROWS);
                    for number in pieces.clone() {
                        let piece = piece(number);
                        let at = piece.line as isize * product.input.line_step
                            + piece.x as isize * product.input.pixel_step;
                        let mut panel = here.at;
                        for block in here.blocks.clone().step_by(BLOCKS) {
                            let blocks = block..here.blocks.end.min(block + BLOCKS);
                            let own = kept.wrapping_add((number - start) * PIECE * usize::from(cuts > 1));
                            // A single piece goes on with the sums that are still in the tiles.
                            let mut is_stored = !is_first && before.sums == own;
                            if is_stored {
                                tiles.store(set.other(), before.two, own, STRIDE);
                            }
                            let job = TileJob {
                                rows: product.input.base.wrapping_offset(at),
                                row_step: product.input.pixel_step,
                                runs: product.runs.as_ptr(),
                                chunks,
                                first: (run, chunk),
                                count: here.count,
                                panel,
                                block_bytes,
                                begin: if is_first { product.columns.start(block) } else { own.cast_const() },
                                begin_stride: if is_first { 0 } else { STRIDE },
                            };
                            panel = panel.wrapping_add(BLOCKS * block_bytes);
                            tiles.multiply(
                                set,
                                blocks.len() > 1,
                                &job,
                                #[inline(always)]
                                || {
                                    fetch.step();
                                    if !is_stored {
                                        tiles.store(set.other(), before.two, before.sums, STRIDE);
                                        is_stored = true;
                                    }
                                    writer.write(&mut left, rows_at_once, &strides);
                                },
                            );
                            left = before.rows;
                            let half = sums.wrapping_add(if set == Set::First { 0 } else { PIECE });
                            before.sums = if is_last { half } else { own };
                            before.two = blocks.len() > 1;
                            before.rows = match is_last {
                                true => {
                                    let (block, first_row) = product.outputs_of(&piece, rows, &blocks, half);
                                    writer.begin(&block, first_row)
                                }
                                false => nothing,
                            };
                            set = set.other();
                        }
                    }
                }
            }
            writer.write(&mut left, rows, &strides);
            tiles.store(set.other(), before.two, before.sums, STRIDE);
            writer.write(&mut before.rows, rows, &strides);
        }
    }
}
