//! Convolution of each channel by itself, on channels-last memory.

mod kernel;

use crate::Activation;
use crate::conv::interleave::copy_channels_last;
use crate::conv::{Axis, ConvArguments, ConvShape};
use crate::matmul::Epilogue;
use crate::matmul::product::apply_rows;
use crate::matmul::split::{chunk, parts_for};
use kernel::{Line, LineFn, line_kernel};
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Values of the input lines under a kernel that are meant to stay in L2 from one output line to the next.
const WINDOW_VALUES: usize = 96 * 1024;

pub(crate) struct Depthwise {
    isa: Isa,
    batch: usize,
    channels: usize,
    axes: [Axis; 3],
    /// Strides `[batch, depth, height, width]` of the input, or of its copy.
    x: [isize; 4],
    /// Input strides to copy from, where its channels do not have unit stride.
    copy: Option<[isize; 5]>,
    line: LineFn,
    parts: usize,
    /// Output columns that are computed for all lines before the next.
    block: usize,
}

impl Depthwise {
    /// Values of packed weights: `[taps][channels]`, channels padded to whole vectors of any level.
    pub(crate) fn packed_len(taps: usize, channels: usize) -> usize {
        taps * channels.next_multiple_of(16)
    }

    pub(crate) fn new(isa: Isa, threads: usize, shape: &ConvShape, x: [isize; 5]) -> Depthwise {
        let [depth, height, width] = shape.axes;
        let channels = shape.in_channels;
        let copy = (x[1] != 1).then_some(x);
        let x = if copy.is_some() {
            let line = (width.input * channels) as isize;
            let slice = line * height.input as isize;
            [slice * depth.input as isize, slice, line, channels as isize]
        } else {
            [x[0], x[2], x[3], x[4]]
        };
        let window = height.kernel * channels;
        let block = if window * width.input <= WINDOW_VALUES {
            width.output.max(1)
        } else {
            (WINDOW_VALUES / (window * width.stride)).next_multiple_of(8).max(32)
        };
        // A depthwise multiply-accumulate costs a few times one of a product: every one loads its operand.
        let parts = parts_for(shape.work() * 3, threads);
        let line = line_kernel(isa, width.kernel, width.stride, width.dilation);
        Depthwise { isa, batch: shape.batch, channels, axes: shape.axes, x, copy, line, parts, block }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        let pixels: usize = self.axes.iter().map(|axis| axis.input).product();
        if self.copy.is_some() { self.batch * pixels * self.channels } else { 0 }
    }

    /// # Safety
    /// As for [`crate::conv::ConvPlan::run`]; `packed` are the packed weights, `scratch` has
    /// [`scratch_len`](Self::scratch_len) values.
    pub(crate) unsafe fn run(
        &self,
        arguments: &ConvArguments,
        packed: *const f32,
        epilogue: Epilogue,
        scratch: *mut f32,
        pool: &ThreadPool,
    ) {
        let [depth, height, _] = self.axes;
        let mut arguments = *arguments;
        if let Some(strides) = self.copy {
            // SAFETY: scratch has room for the copy.
            unsafe { self.copy_input(arguments.x, strides, scratch, pool) };
            arguments.x = scratch;
        }
        let (clamp, activation) = epilogue.split();
        let lines = self.batch * depth.output * height.output;
        let shared = (arguments, Shared(packed.cast_mut()));
        pool.run(self.parts, |part| {
            let (arguments, packed) = &shared;
            // SAFETY: the parts' lines are their own; the rest is the caller's promise.
            unsafe {
                self.run_lines(arguments, packed.0, clamp, activation, chunk(lines, self.parts, part, 1))
            };
        });
    }

    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn run_lines(
        &self,
        arguments: &ConvArguments,
        packed: *const f32,
        clamp: Option<(f32, f32)>,
        activation: Option<Activation>,
        lines: Range<usize>,
    ) {
        let [depth, height, width] = &self.axes;
        let tap_step = Self::packed_len(1, self.channels);
        let mut start = 0;
        while start < width.output {
            let columns = start..width.output.min(start + self.block);
            for line in lines.clone() {
                let (slice, y) = (line / height.output, line % height.output);
                let (batch, z) = (slice / depth.output, slice % depth.output);
                let taps = height.taps_within(y);
                let offset = match depth.at(z, 0) {
                    Some(z) => batch as isize * self.x[0] + z as isize * self.x[1],
                    None => 0,
                };
                let taps = if depth.at(z, 0).is_some() { taps } else { 0..0 };
                let first =
                    (y * height.stride + taps.start * height.dilation).saturating_sub(height.pad_begin);
                let at = line * width.output * self.channels;
                let line = Line {
                    x: arguments.x.wrapping_offset(offset + first as isize * self.x[2]),
                    line_step: self.x[2] * height.dilation as isize,
                    pixel_step: self.x[3],
                    taps: taps.len(),
                    weights: packed.wrapping_add(taps.start * width.kernel * tap_step),
                    tap_step,
                    bias: arguments.bias,
                    residual: match arguments.residual.is_null() {
                        true => arguments.residual,
                        false => arguments.residual.wrapping_add(at),
                    },
                    out: arguments.out.wrapping_add(at),
                    channels: self.channels,
                    width: *width,
                    columns: columns.clone(),
                    clamp,
                };
                // SAFETY: the taps are within the input, the columns within the output.
                unsafe { (self.line)(&line) };
                if let Some(activation) = activation {
                    let written = line.out.wrapping_add(columns.start * self.channels);
                    // SAFETY: these values were just written.
                    unsafe {
                        apply_rows(self.isa, activation, written, 1, columns.len() * self.channels, 0);
                    }
                }
            }
            start = columns.end;
        }
    }

    /// # Safety
    /// `x` is the input; `to` has room for its values.
    unsafe fn copy_input(&self, x: *const f32, strides: [isize; 5], to: *mut f32, pool: &ThreadPool) {
        let sizes = self.axes.map(|axis| axis.input);
        // SAFETY: as the caller grants.
        unsafe { copy_channels_last(x, strides, self.batch, self.channels, sizes, to, pool) };
    }
}

struct Shared(*mut f32);

// SAFETY: whoever dereferences it keeps the threads' parts apart.
unsafe impl Sync for Shared {}
