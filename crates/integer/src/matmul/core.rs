//! What both kinds of products share: rows one after the other, outputs without gaps.

use crate::epilogue::Finish;
use crate::product::{PackedColumns, Product, Surface};
use crate::split::{Job, Split};
use std::ops::Range;
use std::sync::Arc;
use vedette_tensor::rows::RowLayout;

#[derive(Debug)]
pub(super) struct Core {
    pub columns: Arc<PackedColumns>,
    /// Rows of `A`, of all its matrices.
    pub rows: usize,
    /// Values of a row.
    pub depth: usize,
    /// How the rows lie, in elements.
    pub layout: RowLayout,
    pub value_step: isize,
    pub split: Split,
}

/// Pixels after which a chunk of rows may begin: whole tile registers, and nearly whole tiles of vectors.
const MULTIPLE: usize = 16;

impl Core {
    /// `a` is the shape of `A`, its last axis the depth.
    pub(super) fn new(threads: usize, a: &[usize], strides: &[isize], columns: Arc<PackedColumns>) -> Core {
        let depth = a.last().copied().unwrap_or(1);
        let outer = a.len().saturating_sub(1);
        // Outputs lie one after the other in C order, whatever the rows do.
        let mut after = 1;
        let mut axes: Vec<(usize, isize, isize)> = (0..outer)
            .rev()
            .map(|axis| {
                let step = after;
                after *= a[axis].max(1) as isize;
                (a[axis], strides[axis], step)
            })
            .collect();
        axes.reverse();
        let rows: usize = a[..outer].iter().product();
        let job = Job {
            units: rows,
            multiple: MULTIPLE,
            unit_pixels: 1,
            columns: &columns,
            groups: 1,
            input_bytes: rows * depth,
        };
        Core {
            split: Split::new(&job, threads),
            rows,
            depth,
            layout: RowLayout::new(&axes),
            value_step: strides.last().copied().unwrap_or(1),
            columns,
        }
    }

    /// Bytes of a row in scratch.
    pub(super) fn row_bytes(&self) -> usize {
        self.depth.next_multiple_of(4)
    }

    /// Where a row begins, in elements.
    pub(super) fn offset(&self, row: usize) -> isize {
        self.layout.at(row / self.layout.width, row % self.layout.width).input
    }

    /// Multiplies rows that lie `step` bytes apart, the first of `rows` at `base`.
    ///
    /// # Safety
    /// As for [`Product::run`]; `out` and `residual` are those of row 0.
    pub(super) unsafe fn multiply<F: Finish>(
        &self,
        (base, step): (*const u8, isize),
        epilogue: &F,
        (out, residual): (*mut u8, *const u8),
        rows: Range<usize>,
        panels: Range<usize>,
    ) {
        let columns = self.columns.columns();
        let at = rows.start * columns;
        let product = Product {
            columns: &self.columns,
            runs: &[0],
            epilogue,
            channel: 0,
            width: rows.len(),
            input: Surface { base, line_step: 0, pixel_step: step },
            out: Surface {
                base: out.wrapping_add(at * epilogue.output_bytes()),
                line_step: (rows.len() * columns) as isize,
                pixel_step: columns as isize,
            },
            residual: match residual.is_null() {
                true => residual,
                false => residual.wrapping_add(at * epilogue.residual_bytes()),
            },
            first_row: rows.start,
        };
        // SAFETY: as granted by the caller.
        unsafe { product.run(0..1, panels) };
    }
}
