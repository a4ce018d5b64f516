//! Windows of one pixel: rows are copied block by block, and each block is multiplied while it is in cache.

use super::plan::Arguments;
use crate::matmul::{ROW_MULTIPLE, RowCopy};
use crate::product::{ColumnLayout, Finish, Product, Surface};
use crate::shared::{CACHE_LINE, Shared};
use crate::values::Value;
use vedette_runtime::ThreadPool;
use vedette_tensor::conv::Windows;
use vedette_tensor::matmul::Grid;
use vedette_tensor::rows::RowLayout;

#[derive(Debug)]
pub(super) struct Pointwise {
    rows: RowLayout,
    copy: RowCopy,
    inputs: usize,
    first_output: usize,
    /// Over pixels of one line, or over lines.
    grid: Grid,
}

impl Pointwise {
    pub(super) fn new(
        threads: usize,
        windows: &Windows,
        x: [isize; 5],
        inputs: usize,
        layout: &ColumnLayout,
    ) -> Pointwise {
        let axis = |i: usize| {
            let (axis, step) = (&windows.axes[i], x[i + 2]);
            (axis.output, axis.stride as isize * step, windows.steps[i + 1] as isize)
        };
        let images = (windows.batch, x[0], windows.steps[0] as isize);
        let rows = RowLayout::new(&[images, axis(0), axis(1), axis(2)]);
        let work = (windows.count() * windows.channels) as u64 * windows.columns as u64;
        let one_line = rows.all_lines() == 1;
        let units = if one_line { (rows.width, ROW_MULTIPLE) } else { (rows.all_lines(), 1) };
        let grid = Grid::new(1, units, layout.panels().len(), work / layout.kernel().speed, threads);
        let copy = RowCopy::new(layout.isa(), windows.channels, x[1], layout.run_len());
        Pointwise { rows, copy, inputs, first_output: windows.first, grid }
    }

    /// Pixels of a line that are copied at once.
    fn at_once(&self) -> usize {
        self.copy.rows_at_once().min(self.rows.width)
    }

    fn part_bytes(&self) -> usize {
        (self.at_once() * self.copy.len * size_of::<u16>()).next_multiple_of(CACHE_LINE)
    }

    pub(super) fn scratch_bytes(&self) -> usize {
        self.grid.parts() * self.part_bytes()
    }

    /// # Safety
    /// As for [`super::ConvPlan::run`].
    pub(super) unsafe fn run<T: Value, F: Finish>(
        &self,
        arguments: &Arguments<'_, T, F::Output>,
        layout: &ColumnLayout,
        packed: *const u16,
        epilogue: F,
        scratch: *mut u8,
        pool: &ThreadPool,
    ) {
        let (scratch, packed) = (Shared(scratch), Shared(packed.cast_mut().cast()));
        let (rows, at_once) = (&self.rows, self.at_once().max(1));
        self.grid.run(pool, |part, _, units, panels| {
            let (scratch, packed) = (&scratch, &packed);
            // Rounded rows without gaps are read where they lie.
            let gapless = self.inputs == 1 && self.copy.value_step == 1 && self.copy.len == self.copy.depth;
            let direct = if gapless { T::rounded(arguments.inputs[0]) } else { None };
            let copy = scratch.0.wrapping_add(part * self.part_bytes()).cast::<u16>();
            let (lines, pixels) = match rows.all_lines() == 1 {
                true => (0..1, units),
                false => (units, 0..rows.width),
            };
            for line in lines {
                for start in pixels.clone().step_by(at_once) {
                    let count = at_once.min(pixels.end - start);
                    let at = rows.at(line, start);
                    let input = match direct {
                        Some(base) => Surface {
                            base: base.wrapping_offset(at.input),
                            line_step: 0,
                            pixel_step: rows.pixel_step.input,
                        },
                        None => Surface {
                            base: copy.cast_const(),
                            line_step: 0,
                            pixel_step: self.copy.len as isize,
                        },
                    };
                    let out = at.output + self.first_output as isize;
                    let residual = arguments.residual;
                    let product = Product {
                        columns: layout,
                        packed: packed.0.cast::<u16>().cast_const(),
                        runs: &[0],
                        epilogue,
                        width: count,
                        input,
                        out: Surface {
                            base: arguments.out.wrapping_offset(out),
                            line_step: 0,
                            pixel_step: rows.pixel_step.output,
                        },
                        bias: arguments.bias,
                        residual: if residual.is_null() { residual } else { residual.wrapping_offset(out) },
                        plain: false,
                    };
                    // SAFETY: the copy is this part's, the outputs are its own; the rest is the caller's promise.
                    unsafe {
                        if direct.is_none() {
                            self.copy_pixels(arguments, at.input, rows.pixel_step.input, count, copy);
                        }
                        product.run(0..1, panels.clone());
                    }
                }
            }
        });
    }

    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn copy_pixels<T: Value, O>(
        &self,
        arguments: &Arguments<'_, T, O>,
        at: isize,
        step: isize,
        count: usize,
        to: *mut u16,
    ) {
        if self.inputs == 1 {
            // SAFETY: as granted by the caller.
            return unsafe { self.copy.run(arguments.inputs[0].wrapping_offset(at), step, count, to) };
        }
        // The last part writes what follows the depth.
        for (i, input) in arguments.inputs.iter().enumerate() {
            let (from, to) =
                (input.wrapping_offset(at), to.wrapping_add(i * (self.copy.depth / self.inputs)));
            // SAFETY: as granted by the caller.
            unsafe { self.copy.part(i, self.inputs).run(from, step, count, to) };
        }
    }
}
