//! The loops around the micro-kernel.

use super::epilogue::{Finish, SumBlock};
use super::packing::ColumnLayout;
use crate::kernel::{BLOCK, MAX_BLOCKS, MAX_ROWS, Tile};
use std::ops::Range;
use vedette_tensor::matmul::Epilogue;

/// Where lines of pixels lie; steps count values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surface<P> {
    /// The first pixel of the first line.
    pub base: P,
    pub line_step: isize,
    pub pixel_step: isize,
}

/// One product of pixels and columns, and what follows it. The pixels are in cache.
pub(crate) struct Product<'a, F: Finish = Epilogue> {
    pub columns: &'a ColumnLayout,
    pub packed: *const u16,
    /// Where the runs of a pixel begin, in values from the pixel.
    pub runs: &'a [isize],
    pub epilogue: F,
    /// Pixels of a line.
    pub width: usize,
    pub input: Surface<*const u16>,
    pub out: Surface<*mut F::Output>,
    /// A value a column, or null.
    pub bias: *const f32,
    /// As the output lies; null where there is none.
    pub residual: *const f32,
    /// Whether nothing follows the sums, outputs are such, and rows of them have room for whole blocks of columns.
    pub plain: bool,
}

/// Pixels below which weights are read too slowly for tiles to be worth it.
#[cfg(target_arch = "x86_64")]
const FEWEST_TILE_PIXELS: usize = 7;

/// Room for sums, on cache lines of its own.
#[repr(align(64))]
pub(super) struct Sums<const LEN: usize>(pub [f32; LEN]);

impl<F: Finish> Product<'_, F> {
    /// Computes these lines of these panels.
    ///
    /// # Safety
    /// Every run of these pixels is readable; the outputs of these lines and panels are writable and nobody else's
    /// meanwhile; the residuals are readable where there are any.
    pub(crate) unsafe fn run(&self, lines: Range<usize>, panels: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        if self.columns.kernel().has_tile_registers
            && self.width * lines.len() >= FEWEST_TILE_PIXELS
            && let Some(chunks) = crate::kernel::amx::Chunks::new(self.columns.words())
        {
            // SAFETY: as granted by the caller; the kernel is only chosen where the process may use tiles.
            unsafe { self.run_tiles(chunks, lines, panels) };
            return;
        }
        for line in lines {
            // SAFETY: lines the caller grants.
            unsafe { self.run_line(line, panels.clone()) };
        }
    }

    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn run_line(&self, line: usize, panels: Range<usize>) {
        let columns = self.columns;
        let mut sums = Sums([0.0; MAX_ROWS * MAX_BLOCKS * BLOCK]);
        let mut rows = [std::ptr::null::<u16>(); MAX_ROWS];
        for blocks in &columns.panels()[panels] {
            let sums_stride = blocks.len() * BLOCK;
            let mut tile = Tile {
                rows: std::ptr::null(),
                height: 0,
                runs: self.runs.as_ptr(),
                run_count: self.runs.len(),
                words: columns.words(),
                panel: self.packed.wrapping_add(blocks.start * columns.block_len()),
                blocks: blocks.len(),
                block_len: columns.block_len(),
                sums: sums.0.as_mut_ptr(),
                sums_stride,
            };
            // Tiles of nearly equal height: a last tile of one row would leave most of the arithmetic units idle.
            let tiles = self.width.div_ceil(columns.kernel().tallest(blocks.len()));
            let mut x = 0;
            for left in (1..=tiles).rev() {
                tile.height = (self.width - x).div_ceil(left);
                for (i, row) in rows[..tile.height].iter_mut().enumerate() {
                    *row = self.pixel(line, x + i);
                }
                tile.rows = rows.as_ptr();
                let block = self.sums_of(blocks, tile.sums, sums_stride, (line, x), tile.height);
                // SAFETY: the caller grants these pixels and columns; the buffer holds the largest tile.
                unsafe {
                    columns.kernel().run(&tile);
                    self.epilogue.finish(columns.isa(), &block);
                }
                x += tile.height;
            }
        }
    }

    /// Where a pixel lies.
    #[inline(always)]
    pub(super) fn pixel(&self, line: usize, x: usize) -> *const u16 {
        let Surface { base, line_step, pixel_step } = self.input;
        base.wrapping_offset(line as isize * line_step + x as isize * pixel_step)
    }

    /// The sums of some pixels from one on, for these blocks.
    #[inline(always)]
    pub(super) fn sums_of(
        &self,
        blocks: &Range<usize>,
        sums: *mut f32,
        sums_stride: usize,
        (line, x): (usize, usize),
        rows: usize,
    ) -> SumBlock<F::Output> {
        let column = blocks.start * BLOCK;
        let at = line as isize * self.out.line_step + x as isize * self.out.pixel_step + column as isize;
        let shifted = |p: *const f32, by: isize| if p.is_null() { p } else { p.wrapping_offset(by) };
        SumBlock {
            row: line * self.width + x,
            column,
            sums,
            sums_stride,
            rows,
            columns: (self.columns.columns() - column).min(blocks.len() * BLOCK),
            bias: shifted(self.bias, column as isize),
            residual: shifted(self.residual, at),
            residual_stride: self.out.pixel_step as usize,
            out: self.out.base.wrapping_offset(at),
            out_stride: self.out.pixel_step as usize,
        }
    }
}
