//! The loops around the tile registers: pieces of lines of up to 16 pixels, two at a time.

use super::blocks::{Product, Sums};
use super::epilogue::Finish;
use crate::kernel::BLOCK;
use crate::kernel::amx::{Chunks, TILE_ROWS, TileJob, Tiles};
use crate::shared::CACHE_LINE;
use std::mem::MaybeUninit;
use std::ops::Range;
use vedette_simd::{Fetch, prefetch, prefetch_to_l2};

/// Sums from one row of a piece to the next.
const STRIDE: usize = 2 * BLOCK;

/// Sums of a piece.
const PIECE: usize = TILE_ROWS * STRIDE;

/// Rows finished at once: few enough to fit between two chunks, enough to be worth a call.
const FEWEST_ROWS: usize = 4;

/// Bytes of outputs that are in L2 as they are: asking for their lines would only take time.
const NEAR_OUTPUTS: usize = 1 << 20;

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
    /// Where the sums of each piece go, and from one row to the next.
    sums: (*mut f32, *mut f32),
    sums_stride: usize,
}

/// Sums that become outputs, a few rows at a time.
struct Finishing {
    made: Made,
    /// Rows of both pieces, those that are finished first.
    next: usize,
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
        let steps = self.runs.len() * chunks.count;
        let at_once = (2 * rows).div_ceil(steps).max(FEWEST_ROWS);
        let outputs = lines.len() * self.width * self.columns.columns() * size_of::<F::Output>();
        let mut sums = MaybeUninit::<Sums<{ 4 * PIECE }>>::uninit();
        let sums = sums.as_mut_ptr().cast::<f32>();
        // SAFETY: as granted by the caller; these are the only tiles here.
        let tiles = unsafe { Tiles::configure(rows, chunks) };
        // The sums of one step become outputs while the tiles make those of the next: a few rows after every chunk, as
        // the CPU does not look far enough ahead to overlap one whole step with another.
        let mut last: Option<Finishing> = None;
        let mut turn = 0;
        let panels = &self.columns.panels()[panels];
        for (number, panel) in panels.iter().enumerate() {
            let mut fetch =
                self.fetch(panels.get(number + 1), steps * count.div_ceil(2) * panel.len().div_ceil(2));
            for number in (0..count).step_by(2) {
                let second = (number + 1 < count).then(|| piece(number + 1));
                for first in panel.clone().step_by(2) {
                    let pieces = (piece(number), second);
                    let out = (self.output(pieces.0, first), self.output(second.unwrap_or(pieces.0), first));
                    let (sums, sums_stride) = match self.plain {
                        true => ((out.0.cast(), out.1.cast()), self.out.pixel_step as usize),
                        false => {
                            let sums = sums.wrapping_add(turn * 2 * PIECE);
                            ((sums, sums.wrapping_add(PIECE)), STRIDE)
                        }
                    };
                    let made = Made { pieces, blocks: first..panel.end.min(first + 2), sums, sums_stride };
                    turn ^= 1;
                    let mut asked = if F::WRITES && outputs > NEAR_OUTPUTS { 0 } else { 2 * rows };
                    let bytes = made.blocks.len() * BLOCK * size_of::<F::Output>();
                    // SAFETY: pieces of the lines and blocks of the panels that the caller grants; the sums have
                    // room for two steps, and the last ones were stored.
                    unsafe {
                        self.multiply(
                            &tiles,
                            chunks,
                            &made,
                            #[inline(always)]
                            || {
                                fetch.step();
                                for row in asked..(asked + at_once).min(2 * rows) {
                                    let (of_piece, row) =
                                        if row < rows { (out.0, row) } else { (out.1, row - rows) };
                                    let row = of_piece.wrapping_offset(row as isize * self.out.pixel_step);
                                    prefetch_row(
                                        row.cast(),
                                        bytes,
                                        panel.len() * BLOCK * size_of::<F::Output>(),
                                    );
                                }
                                asked += at_once;
                                if let Some(last) = &mut last {
                                    self.finish(last, rows, at_once);
                                }
                            },
                        );
                        if self.plain {
                            continue;
                        }
                        if let Some(mut last) = last.replace(Finishing { made, next: 0 }) {
                            self.finish(&mut last, rows, 2 * rows);
                        }
                    }
                }
            }
        }
        if let Some(mut last) = last {
            // SAFETY: as above.
            unsafe { self.finish(&mut last, rows, 2 * rows) };
        }
    }

    /// Where the outputs of a piece go, from a block on.
    #[inline(always)]
    fn output(&self, piece: Piece, block: usize) -> *mut F::Output {
        let at = piece.line as isize * self.out.line_step + piece.x as isize * self.out.pixel_step;
        self.out.base.wrapping_offset(at).wrapping_add(block * BLOCK)
    }

    /// Weights of a panel to ask for in so many steps.
    fn fetch(&self, panel: Option<&Range<usize>>, steps: usize) -> Fetch<1> {
        let Some(panel) = panel else { return Fetch::NOTHING };
        let at = self.packed.wrapping_add(panel.start * self.columns.block_len());
        Fetch::new([at.cast()], panel.len() * self.columns.block_len() * size_of::<u16>(), steps)
    }

    /// Multiplies, and calls `between` after every chunk of the depth.
    ///
    /// # Safety
    /// As for [`run_tiles`](Self::run_tiles).
    #[inline(always)]
    unsafe fn multiply(&self, tiles: &Tiles, chunks: Chunks, made: &Made, between: impl FnMut()) {
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
            sums: made.sums,
            sums_stride: made.sums_stride,
        };
        // SAFETY: as granted by the caller.
        unsafe {
            match (second.is_some(), made.blocks.len() > 1) {
                (true, true) => tiles.run::<true, true>(&job, between),
                (true, false) => tiles.run::<true, false>(&job, between),
                (false, true) => tiles.run::<false, true>(&job, between),
                (false, false) => tiles.run::<false, false>(&job, between),
            }
        }
    }

    /// Makes outputs of the next so many rows.
    ///
    /// # Safety
    /// As for [`run_tiles`](Self::run_tiles); the sums are there.
    #[inline(always)]
    unsafe fn finish(&self, finishing: &mut Finishing, rows: usize, mut count: usize) {
        let Finishing { made, next } = finishing;
        let (first, second) = made.pieces;
        while count > 0 {
            let (index, piece, sums) = match second {
                _ if *next < rows => (0, first, made.sums.0),
                Some(piece) if *next < 2 * rows => (1, piece, made.sums.1),
                _ => return,
            };
            let row = (*next - index * rows).max(piece.skip);
            let taken = count.min(rows - row);
            let sums = sums.wrapping_add(row * STRIDE);
            let block = self.sums_of(&made.blocks, sums, STRIDE, (piece.line, piece.x + row), taken);
            // SAFETY: as granted by the caller.
            unsafe { self.epilogue.finish(self.columns.isa(), &block) };
            *next = index * rows + row + taken;
            count -= taken;
        }
    }
}

/// Asks for the lines that the outputs of a row of two blocks go to: they have arrived when the sums are there. Memory
/// answers later than that, so those of the next panel are asked for as well.
#[inline(always)]
fn prefetch_row(row: *const u8, bytes: usize, next: usize) {
    for at in [0, CACHE_LINE.min(bytes - 1), bytes - 1] {
        prefetch(row.wrapping_add(at));
        prefetch_to_l2(row.wrapping_add(next + at));
    }
}
