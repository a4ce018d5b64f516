//! Windows read where they lie: nothing is padded, and channels are whole words.

use super::plan::ConvArguments;
use super::weights::ConvWeights;
use crate::Epilogue;
use crate::product::{Product, Surface};
use crate::rows::RowLayout;
use crate::split::{Job, Split, by_group};
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_tensor::conv::{Axis, ConvShape};

#[derive(Debug)]
pub(super) struct Direct {
    rows: RowLayout,
    /// Where each tap lies, in bytes from the first.
    taps: Vec<isize>,
    out_channels: usize,
    group_channels: usize,
    group_columns: usize,
    split: Split,
}

fn is_padded(axis: &Axis) -> bool {
    axis.output > 0 && (axis.pad_begin > 0 || (axis.output - 1) * axis.stride + axis.extent() > axis.input)
}

impl Direct {
    /// A plan, where windows can be read as they lie.
    pub(super) fn new(
        threads: usize,
        shape: &ConvShape,
        x: [isize; 5],
        weights: &ConvWeights,
    ) -> Option<Direct> {
        let group_channels = shape.in_channels / shape.groups;
        let dense = x[1] == 1 || shape.in_channels == 1;
        if !dense || !group_channels.is_multiple_of(4) || shape.axes.iter().any(is_padded) {
            return None;
        }
        let [depth, height, width] = shape.axes;
        let step = |axis: &Axis, stride: isize| (axis.output, axis.stride as isize * stride);
        let rows = RowLayout::new(&[
            (shape.batch, x[0]),
            step(&depth, x[2]),
            step(&height, x[3]),
            step(&width, x[4]),
        ]);
        let at = |axis: &Axis, stride: isize, tap: usize| (tap * axis.dilation) as isize * stride;
        let mut taps = Vec::with_capacity(shape.taps());
        for z in 0..depth.kernel {
            for y in 0..height.kernel {
                let line = at(&depth, x[2], z) + at(&height, x[3], y);
                taps.extend((0..width.kernel).map(|tap| line + at(&width, x[4], tap)));
            }
        }
        let one_line = rows.all_lines() == 1;
        let job = Job {
            units: if one_line { rows.width } else { rows.all_lines() },
            multiple: if one_line { 16 } else { 1 },
            unit_pixels: if one_line { 1 } else { rows.width },
            columns: &weights.groups()[0],
            groups: shape.groups,
            input_bytes: shape.pixels() * shape.in_channels,
        };
        Some(Direct {
            split: Split::new(&job, threads),
            rows,
            taps,
            out_channels: shape.out_channels,
            group_channels,
            group_columns: shape.out_channels / shape.groups,
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
        let channel = group * self.group_columns;
        let first_channel = arguments.x.wrapping_add(group * self.group_channels);
        // A product of `width` pixels a line, its first pixel this one.
        let product = |slice: usize, in_slice: isize, pixel: usize, width: usize| {
            let at = pixel * self.out_channels + channel;
            let residual = arguments.residual;
            Product {
                columns: &weights.groups()[group],
                runs: &self.taps,
                epilogue,
                channel,
                width,
                input: Surface {
                    base: first_channel.wrapping_offset(rows.slices[slice] + in_slice),
                    line_step: rows.line_step,
                    pixel_step: rows.pixel_step,
                },
                out: Surface {
                    base: arguments.out.wrapping_add(at * epilogue.output_bytes()),
                    line_step: (width * self.out_channels) as isize,
                    pixel_step: self.out_channels as isize,
                },
                residual: if residual.is_null() { residual } else { residual.wrapping_add(at) },
                first_row: pixel,
            }
        };
        if rows.all_lines() == 1 {
            let by = units.start as isize * rows.pixel_step;
            // SAFETY: as granted by the caller.
            unsafe { product(0, by, units.start, units.len()).run(0..1, panels) };
            return;
        }
        let mut line = units.start;
        while line < units.end {
            let (slice, first) = (line / rows.lines, line % rows.lines);
            let count = (rows.lines - first).min(units.end - line);
            let by = first as isize * rows.line_step;
            // SAFETY: as granted by the caller.
            unsafe { product(slice, by, line * rows.width, rows.width).run(0..count, panels.clone()) };
            line += count;
        }
    }
}
