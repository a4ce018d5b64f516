//! Convolution by strips: a few lines of the input are copied channels-last with their padding, so that nothing is
//! out of bounds and, where taps are neighbours, a line of the kernel is one run.

use super::interleave::interleave;
use super::plan::{ConvArguments, ConvShape};
use crate::matmul::product::{Product, RowSource};
use crate::matmul::split::{chunk, parts_for};
use std::ops::Range;
use vedette_runtime::ThreadPool;

/// Values of a strip: 192 KB, so that it stays in L2 beside the weights.
const STRIP_VALUES: usize = 48 * 1024;

pub(crate) struct Strips {
    shape: ConvShape,
    /// Input strides `[batch, channel, depth, height, width]`.
    x: [isize; 5],
    /// Whether the taps of a kernel line are one run.
    joined: bool,
    /// Output lines of a strip.
    lines: usize,
    /// Values of a copied line.
    line_len: usize,
    /// Lines copied for each depth tap.
    lines_in: usize,
    tap_offsets: Vec<usize>,
    /// Threads that take part, each with a scratch of its own.
    parts: usize,
}

impl Strips {
    pub(crate) fn new(shape: &ConvShape, x: [isize; 5], threads: usize) -> Strips {
        let [depth, height, width] = shape.axes;
        let channels = shape.in_channels;
        let span = |outputs: usize, axis: &super::Axis| (outputs.max(1) - 1) * axis.stride + axis.extent();
        let line_len = span(width.output, &width) * channels;
        let affordable = STRIP_VALUES / (line_len * depth.kernel).max(1);
        let lines =
            (affordable.saturating_sub(height.extent()) / height.stride + 1).clamp(1, height.output.max(1));
        let lines_in = span(lines, &height);
        let joined = width.dilation == 1 && shape.groups == 1;
        let mut tap_offsets = Vec::new();
        for z in 0..depth.kernel {
            for y in 0..height.kernel {
                let line = (z * lines_in + y * height.dilation) * line_len;
                let taps = if joined { 1 } else { width.kernel };
                tap_offsets.extend((0..taps).map(|tap| line + tap * width.dilation * channels));
            }
        }
        let parts = parts_for(shape.work(), threads).min(threads);
        Strips { shape: shape.clone(), x, joined, lines, line_len, lines_in, tap_offsets, parts }
    }

    /// Runs of a row, and the values of each.
    pub(crate) fn runs(&self) -> (usize, usize) {
        let depth = self.shape.in_channels / self.shape.groups;
        let depth = if self.joined { self.shape.axes[2].kernel * depth } else { depth };
        (self.tap_offsets.len(), depth)
    }

    fn strip_len(&self) -> usize {
        (self.shape.axes[0].kernel * self.lines_in * self.line_len).next_multiple_of(16)
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.strip_len() * self.parts
    }

    /// # Safety
    /// As for [`super::ConvPlan::run`]; `scratch` has [`scratch_len`](Self::scratch_len) values.
    pub(crate) unsafe fn run(
        &self,
        arguments: &ConvArguments,
        product: &Product<'_>,
        scratch: *mut f32,
        pool: &ThreadPool,
    ) {
        let [depth, height, width] = self.shape.axes;
        let total = self.shape.batch * depth.output * height.output;
        let columns = self.shape.out_channels / self.shape.groups;
        let in_channels = self.shape.in_channels / self.shape.groups;
        let scratch = Scratch(scratch);
        pool.run(self.parts, |part| {
            let scratch = &scratch;
            let strip = scratch.0.wrapping_add(part * self.strip_len());
            let range = chunk(total, self.parts, part, 1);
            let mut line = range.start;
            while line < range.end {
                let y = line % height.output;
                let lines = self.lines.min(range.end - line).min(height.output - y);
                let slice = line / height.output;
                // SAFETY: the strip is this part's own.
                unsafe {
                    self.copy(arguments.x, slice / depth.output, slice % depth.output, y, lines, strip)
                };
                let product = product.at_row(line * width.output);
                for group in 0..self.shape.groups {
                    let source = StripRows { strips: self, base: strip.wrapping_add(group * in_channels) };
                    let product = product.group(group, columns);
                    let panels = 0..product.layout.panels.len();
                    // SAFETY: every tap of these rows lies in the strip; parts write lines of their own.
                    unsafe { product.run(&source, 0..lines * width.output, panels) };
                }
                line += lines;
            }
        });
    }

    /// Copies the input lines that output lines `y..y + lines` of a slice see.
    ///
    /// # Safety
    /// `x` is the input, `strip` has room for [`strip_len`](Self::strip_len) values.
    unsafe fn copy(&self, x: *const f32, batch: usize, z: usize, y: usize, lines: usize, strip: *mut f32) {
        let [depth, height, _] = self.shape.axes;
        let lines_in = (lines - 1) * height.stride + height.extent();
        for tap in 0..depth.kernel {
            for line in 0..lines_in {
                let at = (tap * self.lines_in + line) * self.line_len;
                // SAFETY: a line of the strip, which is this thread's own.
                let to = unsafe { std::slice::from_raw_parts_mut(strip.add(at), self.line_len) };
                let position = (y * height.stride + line).checked_sub(height.pad_begin);
                match (depth.at(z, tap), position.filter(|&position| position < height.input)) {
                    (Some(z), Some(y)) => {
                        let offset =
                            batch as isize * self.x[0] + z as isize * self.x[2] + y as isize * self.x[3];
                        // SAFETY: line y of slice z of the input.
                        unsafe { self.copy_line(x.wrapping_offset(offset), to) };
                    }
                    _ => to.fill(0.0),
                }
            }
        }
    }

    /// # Safety
    /// `from` is the first value of a line of the input.
    unsafe fn copy_line(&self, from: *const f32, to: &mut [f32]) {
        let width = &self.shape.axes[2];
        let (channels, channel_stride, stride) = (self.shape.in_channels, self.x[1], self.x[4]);
        let before = (width.pad_begin * channels).min(to.len());
        let (padding, to) = to.split_at_mut(before);
        padding.fill(0.0);
        let pixels = width.input.min(to.len() / channels.max(1));
        let (to, padding) = to.split_at_mut(pixels * channels);
        padding.fill(0.0);
        // SAFETY: the pixels are those of the line.
        unsafe { interleave(from, (channels, channel_stride), stride, to) };
    }
}

struct Scratch(*mut f32);

// SAFETY: each part uses a strip of its own.
unsafe impl Sync for Scratch {}

struct StripRows<'a> {
    strips: &'a Strips,
    base: *const f32,
}

// SAFETY: only read through, by whoever vouches for the strip.
unsafe impl Sync for StripRows<'_> {}

impl RowSource for StripRows<'_> {
    #[inline(always)]
    fn pointers(&self, rows: Range<usize>, taps: Range<usize>, skip: usize, out: &mut [*const f32]) {
        let [_, height, width] = &self.strips.shape.axes;
        let step = width.stride * self.strips.shape.in_channels;
        let line_step = height.stride * self.strips.line_len;
        let count = rows.len();
        let (mut line, mut x) = (rows.start / width.output, rows.start % width.output);
        for i in 0..count {
            if x == width.output {
                (line, x) = (line + 1, 0);
            }
            let pixel = self.base.wrapping_add(line * line_step + x * step + skip);
            for (tap, &offset) in self.strips.tap_offsets[taps.clone()].iter().enumerate() {
                out[tap * count + i] = pixel.wrapping_add(offset);
            }
            x += 1;
        }
    }

    fn step(&self) -> isize {
        // The strip was just copied.
        0
    }
}
