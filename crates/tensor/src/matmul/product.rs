//! The loops around the micro-kernel: blocks of rows and of depth, so that what is read again is in cache.

use super::panels::{Panel, PanelLayout};
use super::tile::{LINE, MAX_ROWS, MAX_TAPS, Tile};
use crate::Activation;
use std::ops::Range;
use std::ptr;
use vedette_simd::{Isa, dispatch};

/// Rows of `A`, each a list of `taps` runs of `depth` values, wherever they lie.
pub(crate) trait RowSource: Sync {
    /// Writes `[taps][rows]` pointers for these rows and taps, each advanced by `skip` values.
    fn pointers(&self, rows: Range<usize>, taps: Range<usize>, skip: usize, out: &mut [*const f32]);

    /// Values from one row to the next, as a rule, where rows come from memory; 0 where they are in cache.
    fn step(&self) -> isize;
}

/// Rows at a constant distance, of one run each.
#[derive(Clone, Copy)]
pub(crate) struct UniformRows {
    pub base: *const f32,
    pub stride: isize,
}

// SAFETY: a pointer that is only read through, by whoever vouches for it.
unsafe impl Sync for UniformRows {}

impl RowSource for UniformRows {
    #[inline(always)]
    fn pointers(&self, rows: Range<usize>, _taps: Range<usize>, skip: usize, out: &mut [*const f32]) {
        let mut pointer = self.base.wrapping_offset(rows.start as isize * self.stride).wrapping_add(skip);
        for (_, out) in rows.zip(out) {
            *out = pointer;
            pointer = pointer.wrapping_offset(self.stride);
        }
    }

    fn step(&self) -> isize {
        self.stride
    }
}

/// What is added to a product and applied to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue {
    /// Applied last.
    pub activation: Option<Activation>,
}

impl Epilogue {
    /// Bounds, where the activation is no more than that; and what else there is to apply.
    #[inline]
    pub fn split(self) -> (Option<(f32, f32)>, Option<Activation>) {
        match self.activation {
            None => (None, None),
            Some(Activation::Relu) => (Some((0.0, f32::INFINITY)), None),
            Some(Activation::Clip { min, max }) => (Some((min, max)), None),
            other => (None, other),
        }
    }
}

/// One matrix product `out = activation(A x B + bias + residual)`; what it points to is vouched for in [`Product::run`].
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub layout: &'a PanelLayout,
    pub packed: *const f32,
    /// Runs a row of `A` consists of; `taps * depth` is the layout's `k`.
    pub taps: usize,
    pub depth: usize,
    pub out: *mut f32,
    pub out_stride: usize,
    pub bias: *const f32,
    pub residual: *const f32,
    pub residual_stride: usize,
    pub epilogue: Epilogue,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for Product<'_> {}
// SAFETY: as above.
unsafe impl Send for Product<'_> {}

/// Depth of one pass over a panel: 512 x 48 columns are 96 KB, a small part of L2, and the sums that are written and
/// read again between passes are a fraction of a percent of the work.
const DEPTH_BLOCK: usize = 512;

/// Values of `A` in a block of rows that is used for one panel after another.
const ROW_BLOCK_VALUES: usize = 48 * 1024;

/// Packed matrices up to this many values stay in L2 while blocks of rows pass by.
const RESIDENT_VALUES: usize = 128 * 1024;

impl Product<'_> {
    /// The product of a group of a convolution, which writes `columns` of the output's channels.
    pub(crate) fn group(&self, group: usize, columns: usize) -> Self {
        let packed = self.packed.wrapping_add(group * self.layout.packed_step());
        Product { packed, ..self.shifted(group * columns) }
    }

    /// The same product with output, bias and residual `by` values further on.
    fn shifted(&self, by: usize) -> Self {
        let shift = |p: *const f32| if p.is_null() { p } else { p.wrapping_add(by) };
        Product {
            out: self.out.wrapping_add(by),
            bias: shift(self.bias),
            residual: shift(self.residual),
            ..*self
        }
    }

    /// The same product from this row of the output on.
    pub(crate) fn at_row(&self, row: usize) -> Self {
        let residual = match self.residual.is_null() {
            true => self.residual,
            false => self.residual.wrapping_add(row * self.residual_stride),
        };
        Product { out: self.out.wrapping_add(row * self.out_stride), residual, ..*self }
    }

    /// Computes these rows of these panels.
    ///
    /// # Safety
    /// Every pointer the source gives for these rows is readable for what is asked; `packed` holds the packed `B`;
    /// `out` is writable, and where not null `bias` and `residual` readable, for these rows and columns; nobody else
    /// touches that part of `out` meanwhile. The residual may be `out` itself.
    pub(crate) unsafe fn run(&self, source: &impl RowSource, rows: Range<usize>, panels: Range<usize>) {
        // With one tap the depth is cut, else the list of taps.
        let (tap_step, depth_step) = if self.taps == 1 {
            let passes = self.depth.div_ceil(DEPTH_BLOCK).max(1);
            (1, self.depth.div_ceil(passes))
        } else {
            let tap_step = (DEPTH_BLOCK / self.depth.max(1)).clamp(1, MAX_TAPS);
            (self.taps.div_ceil(self.taps.div_ceil(tap_step).max(1)), self.depth)
        };
        let resident = self.layout.packed_len() <= RESIDENT_VALUES;
        let budget = if resident { ROW_BLOCK_VALUES / 4 } else { ROW_BLOCK_VALUES };
        let block = (budget / (tap_step * depth_step).max(1)).max(2 * MAX_ROWS);
        let (clamp, activation) = self.epilogue.split();
        let mut pointers = [ptr::null::<f32>(); MAX_ROWS * MAX_TAPS];
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min(start + block);
            let (mut tap, mut skip) = (0, 0);
            loop {
                let taps = tap..self.taps.min(tap + tap_step);
                let depth = depth_step.min(self.depth - skip);
                let last = taps.end == self.taps && skip + depth == self.depth;
                let pass = Pass {
                    taps: taps.clone(),
                    skip,
                    depth,
                    first: tap == 0 && skip == 0,
                    clamp: if last { clamp } else { None },
                    activation: if last { activation } else { None },
                };
                // The first panel brings the rows into cache for the others.
                let mut step = source.step();
                let turn = &self.layout.panels[panels.clone()];
                for (i, panel) in turn.iter().enumerate() {
                    let next = match turn.get(i + 1) {
                        Some(next) if !resident => self.packed_part(next, &pass),
                        _ => ptr::null(),
                    };
                    // SAFETY: as the caller grants; the pass stays within taps and depth.
                    unsafe { self.run_pass(source, start..end, panel, &pass, (step, next), &mut pointers) };
                    step = 0;
                }
                if last {
                    break;
                }
                (tap, skip) = if self.taps == 1 { (0, skip + depth) } else { (taps.end, 0) };
            }
            start = end;
        }
    }

    /// What a pass reads of a panel.
    fn packed_part(&self, panel: &Panel, pass: &Pass) -> *const f32 {
        let above = pass.taps.start * self.depth + pass.skip;
        self.packed.wrapping_add(panel.offset + above * panel.kernel.width)
    }

    /// Runs a pass over one panel; `ahead` is the step to the rows to fetch, and where the next panel's part begins.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn run_pass(
        &self,
        source: &impl RowSource,
        rows: Range<usize>,
        panel: &Panel,
        pass: &Pass,
        (step, next): (isize, *const f32),
        pointers: &mut [*const f32],
    ) {
        let packed = self.packed_part(panel, pass);
        let tallest = panel.kernel.tiles.len();
        let (column, columns) = (panel.columns.start, panel.columns.len());
        let shifted = |p: *const f32, by: usize| if p.is_null() { p } else { p.wrapping_add(by) };
        // Tiles of nearly equal height: a last tile of one row would leave most of the arithmetic units idle.
        let tiles = rows.len().div_ceil(tallest);
        // The tiles of this panel fetch a part of the next panel each.
        let upcoming_lines = if next.is_null() { 0 } else { panel.kernel.width.div_ceil(tiles) };
        let lines_a_tile = pass.taps.len() * pass.depth.div_ceil(LINE) * upcoming_lines;
        let mut row = rows.start;
        for left in (1..=tiles).rev() {
            let height = (rows.end - row).div_ceil(left);
            source.pointers(row..row + height, pass.taps.clone(), pass.skip, pointers);
            let tile = Tile {
                rows: pointers.as_ptr(),
                taps: pass.taps.len(),
                depth: pass.depth,
                ahead: step * height as isize,
                panel: packed,
                upcoming: next.wrapping_add((tiles - left) * lines_a_tile * LINE),
                upcoming_lines,
                columns,
                out: self.out.wrapping_add(row * self.out_stride + column),
                out_stride: self.out_stride,
                bias: shifted(self.bias, column),
                residual: shifted(self.residual, row * self.residual_stride + column),
                residual_stride: self.residual_stride,
                accumulate: !pass.first,
                clamp: pass.clamp,
            };
            // SAFETY: the tile is within rows and columns the caller grants, and the kernel is of the layout's level.
            unsafe { panel.kernel.tiles[height - 1](&tile) };
            if let Some(activation) = pass.activation {
                // Rows without gaps are one run: a few columns would leave most lanes of a vector idle.
                let (rows, run) =
                    if self.out_stride == columns { (1, height * columns) } else { (height, columns) };
                // SAFETY: the tile was just written.
                unsafe {
                    apply_rows(self.layout.isa(), activation, tile.out, rows, run, self.out_stride);
                }
            }
            row += height;
        }
    }
}

struct Pass {
    taps: Range<usize>,
    skip: usize,
    depth: usize,
    first: bool,
    clamp: Option<(f32, f32)>,
    activation: Option<Activation>,
}

/// Applies an activation to a block of rows while it is in L1.
///
/// # Safety
/// The block is readable and writable.
pub(crate) unsafe fn apply_rows(
    isa: Isa,
    activation: Activation,
    data: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
) {
    dispatch!(isa, S => for row in 0..rows {
        let data = data.wrapping_add(row * stride);
        // SAFETY: a row of the block, read and written in place.
        unsafe { activation.map_raw::<S>(data, data, columns) }
    });
}
