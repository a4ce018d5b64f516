//! The loops around the micro-kernel.

use super::kernel::{MAX_BLOCKS, MAX_ROWS, Tile};
use super::packing::{BLOCK, PackedColumns, WORD};
use crate::epilogue::{Finish, SumBlock};
use std::ops::Range;

/// Where lines of pixels lie; steps count elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surface<P> {
    /// The first pixel of the first line.
    pub base: P,
    pub line_step: isize,
    pub pixel_step: isize,
}

/// One product of pixels and columns, and what follows it.
pub(crate) struct Product<'a, F> {
    pub columns: &'a PackedColumns,
    /// Where the runs of a pixel begin, in bytes from the pixel; each is as deep as the others.
    pub runs: &'a [isize],
    pub epilogue: &'a F,
    /// The output channel of the first column.
    pub channel: usize,
    /// Pixels of a line.
    pub width: usize,
    pub input: Surface<*const u8>,
    /// The first output is that of `channel`.
    pub out: Surface<*mut u8>,
    /// As the output lies, in elements of [`Finish::residual_bytes`]; null where there is none.
    pub residual: *const u8,
    /// The number of the first pixel, for epilogues that know rows apart.
    pub first_row: usize,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl<F> Sync for Product<'_, F> {}

/// Pixels below which weights are read too slowly for tiles to be worth it.
#[cfg(target_arch = "x86_64")]
const FEWEST_TILE_PIXELS: usize = 7;

/// Bytes of rows that are kept in cache while one panel after another is computed for them.
const ROW_BLOCK_BYTES: usize = 192 * 1024;

/// Room for the sums of a tile, on cache lines of its own.
#[repr(align(64))]
pub(super) struct Sums<const LEN: usize>(pub [i32; LEN]);

impl<F: Finish> Product<'_, F> {
    /// Computes these lines of these panels.
    ///
    /// # Safety
    /// Every run of these pixels is readable; the outputs of these lines and panels are writable and nobody else's
    /// meanwhile; the residuals are readable where the epilogue has one.
    pub(crate) unsafe fn run(&self, lines: Range<usize>, panels: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        if self.columns.kernel().has_tile_registers
            && self.width * lines.len() >= FEWEST_TILE_PIXELS
            && let Some(chunks) = super::kernel::amx::Chunks::new(self.words())
        {
            // SAFETY: as granted by the caller; the kernel is only chosen where the process may use tiles.
            unsafe { self.run_tiles(chunks, lines, panels) };
            return;
        }
        let (input, out, width) = (&self.input, &self.out, self.width as isize);
        let shifted = |line: usize| {
            let base = input.base.wrapping_offset(line as isize * input.line_step);
            let (out, residual) = self.outputs(line as isize * out.line_step);
            (base, out, residual)
        };
        // Tiles may cross the ends of lines where outputs follow each other without a gap.
        let crosses = out.line_step == width * out.pixel_step;
        let chunk = if crosses { lines.len() } else { 1 };
        let mut line = lines.start;
        while line < lines.end {
            let (base, out, residual) = shifted(line);
            // SAFETY: lines the caller grants.
            unsafe {
                self.run_pixels((base, line * self.width), chunk * self.width, out, residual, panels.clone())
            };
            line += chunk;
        }
    }

    /// Words of every run.
    pub(super) fn words(&self) -> usize {
        self.columns.words().checked_div(self.runs.len()).unwrap_or(0)
    }

    /// Where the output and the residual lie that many elements behind the first.
    #[inline(always)]
    pub(super) fn outputs(&self, by: isize) -> (*mut u8, *const u8) {
        let residual = match self.residual.is_null() {
            true => self.residual,
            false => self.residual.wrapping_offset(by * self.epilogue.residual_bytes() as isize),
        };
        (self.out.base.wrapping_offset(by * self.epilogue.output_bytes() as isize), residual)
    }

    /// Pixels that are computed for one panel after another while they are in cache.
    fn pixels_at_once(&self, panels: usize) -> usize {
        let depth = self.columns.words() * WORD;
        match panels {
            0 | 1 => usize::MAX,
            _ => (ROW_BLOCK_BYTES.max(self.columns.block_bytes()) / depth.max(1)).max(4 * MAX_ROWS),
        }
    }

    /// Computes pixels whose outputs follow each other at `pixel_step`.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn run_pixels(
        &self,
        (base, first_row): (*const u8, usize),
        pixels: usize,
        out: *mut u8,
        residual: *const u8,
        panels: Range<usize>,
    ) {
        let columns = self.columns;
        let block = self.pixels_at_once(panels.len()).min(pixels);
        let words = self.words();
        let mut sums = Sums([0; MAX_ROWS * MAX_BLOCKS * BLOCK]);
        let mut rows = [std::ptr::null::<u8>(); MAX_ROWS];
        let mut start = 0;
        while start < pixels {
            let end = pixels.min(start + block);
            for blocks in &columns.panels()[panels.clone()] {
                let sums_stride = blocks.len() * BLOCK;
                let channel = blocks.start * BLOCK;
                let count = (columns.columns() - channel).min(sums_stride);
                let mut tile = Tile {
                    rows: std::ptr::null(),
                    height: 0,
                    runs: self.runs.as_ptr(),
                    run_count: self.runs.len(),
                    words,
                    panel: columns.block(blocks.start),
                    blocks: blocks.len(),
                    block_bytes: columns.block_bytes(),
                    start: columns.start(blocks.start),
                    sums: sums.0.as_mut_ptr(),
                    sums_stride,
                };
                // Tiles of nearly equal height: a last tile of one row would leave most of the arithmetic units idle.
                let tiles = (end - start).div_ceil(columns.kernel().tallest(blocks.len()));
                let mut pixel = start;
                for left in (1..=tiles).rev() {
                    tile.height = (end - pixel).div_ceil(left);
                    self.row_pointers(base, pixel, &mut rows[..tile.height]);
                    tile.rows = rows.as_ptr();
                    let at = pixel as isize * self.out.pixel_step + channel as isize;
                    let block = SumBlock {
                        sums: tile.sums,
                        sums_stride,
                        rows: tile.height,
                        channel: self.channel + channel,
                        columns: count,
                        out: out.wrapping_offset(at * self.epilogue.output_bytes() as isize),
                        out_stride: self.out.pixel_step as usize,
                        residual: if residual.is_null() {
                            residual
                        } else {
                            residual.wrapping_offset(at * self.epilogue.residual_bytes() as isize)
                        },
                        residual_stride: self.out.pixel_step as usize,
                    };
                    // SAFETY: the caller grants these pixels and columns; the buffer holds the largest tile.
                    unsafe {
                        columns.kernel().run(&tile);
                        self.epilogue.finish(&block, self.first_row + first_row + pixel);
                    }
                    pixel += tile.height;
                }
            }
            start = end;
        }
    }

    #[inline(always)]
    fn row_pointers(&self, base: *const u8, pixel: usize, rows: &mut [*const u8]) {
        let Surface { line_step, pixel_step, .. } = self.input;
        let (mut line, mut x) = (pixel / self.width, pixel % self.width);
        for row in rows {
            if x == self.width {
                (line, x) = (line + 1, 0);
            }
            *row = base.wrapping_offset(line as isize * line_step + x as isize * pixel_step);
            x += 1;
        }
    }
}
