//! Windows read where they lie: nothing is padded, and channels are whole words.

use super::plan::ConvArguments;
use super::weights::ConvWeights;
use crate::Epilogue;
use crate::product::{Product, Surface};
use crate::split::{Job, Split, by_group};
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_tensor::conv::{WindowAxis, Windows};
use vedette_tensor::rows::RowLayout;

#[derive(Debug)]
pub(super) struct Direct {
    rows: RowLayout,
    /// Where each tap lies, in bytes from the first pixel of an output.
    taps: Vec<isize>,
    first_output: usize,
    channels: usize,
    columns: usize,
    split: Split,
}

impl Direct {
    /// A plan, where windows can be read as they lie.
    pub(super) fn new(
        threads: usize,
        windows: &Windows,
        x: [isize; 5],
        weights: &ConvWeights,
    ) -> Option<Direct> {
        let Windows { batch, groups, channels, axes, steps, .. } = windows;
        let dense = x[1] == 1 || channels * groups == 1;
        if !dense || !channels.is_multiple_of(4) || !axes.iter().all(WindowAxis::is_inside) {
            return None;
        }
        let axis = |i: usize| {
            let (axis, step): (&WindowAxis, isize) = (&axes[i], x[i + 2]);
            (axis.output, axis.stride as isize * step, steps[i + 1] as isize)
        };
        let rows = RowLayout::new(&[(*batch, x[0], steps[0] as isize), axis(0), axis(1), axis(2)]);
        let offset = |i: usize, tap: usize| (axes[i].origin + (tap * axes[i].dilation) as isize) * x[i + 2];
        let mut taps = Vec::with_capacity(windows.taps());
        for z in 0..axes[0].kernel {
            for y in 0..axes[1].kernel {
                taps.extend((0..axes[2].kernel).map(|tap| offset(0, z) + offset(1, y) + offset(2, tap)));
            }
        }
        let one_line = rows.all_lines() == 1;
        let job = Job {
            units: if one_line { rows.width } else { rows.all_lines() },
            multiple: if one_line { 16 } else { 1 },
            unit_pixels: if one_line { 1 } else { rows.width },
            columns: &weights.groups()[0],
            groups: *groups,
            input_bytes: windows.count() * channels * groups,
        };
        Some(Direct {
            split: Split::new(&job, threads),
            rows,
            taps,
            first_output: windows.first,
            channels: *channels,
            columns: windows.columns,
        })
    }

    /// # Safety
    /// As for [`super::ConvPlan::run`].
    pub(super) unsafe fn run(
        &self,
        arguments: &ConvArguments,
        weights: &ConvWeights,
        epilogue: &Epilogue,
        pool: &ThreadPool,
    ) {
        let each = weights.groups()[0].panels().len();
        self.split.run(pool, |_, units, panels| {
            by_group(panels, each, |group, panels| {
                // SAFETY: the parts' outputs are their own; the rest is the caller's promise.
                unsafe { self.run_group(arguments, weights, epilogue, group, units.clone(), panels) };
            });
        });
    }

    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn run_group(
        &self,
        arguments: &ConvArguments,
        weights: &ConvWeights,
        epilogue: &Epilogue,
        group: usize,
        units: Range<usize>,
        panels: Range<usize>,
    ) {
        let rows = &self.rows;
        // A product of lines of that width, the first of which begins at this pixel.
        let product = |line: usize, pixel: usize, width: usize| {
            let at = rows.at(line, pixel);
            let channel = group * self.columns;
            let out = at.output + (self.first_output + channel) as isize;
            let residual = arguments.residual;
            Product {
                columns: &weights.groups()[group],
                runs: &self.taps,
                epilogue,
                channel,
                width,
                input: Surface {
                    base: arguments.x.wrapping_offset(at.input).wrapping_add(group * self.channels),
                    line_step: rows.line_step.input,
                    pixel_step: rows.pixel_step.input,
                },
                out: Surface {
                    base: arguments.out.wrapping_offset(out * epilogue.output_bytes() as isize),
                    line_step: rows.line_step.output,
                    pixel_step: rows.pixel_step.output,
                },
                residual: if residual.is_null() { residual } else { residual.wrapping_offset(out) },
                first_row: 0,
            }
        };
        if rows.all_lines() == 1 {
            // SAFETY: as granted by the caller.
            unsafe { product(0, units.start, units.len()).run(0..1, panels) };
            return;
        }
        let mut line = units.start;
        while line < units.end {
            let count = (rows.lines - line % rows.lines).min(units.end - line);
            // SAFETY: as granted by the caller.
            unsafe { product(line, 0, rows.width).run(0..count, panels.clone()) };
            line += count;
        }
    }
}
