//! Windows over a padded copy of a few lines of the input, so small that it stays in cache.
//!
//! In the copy every tap of every window exists, borders hold the zero point, and what lies between two windows of a
//! line is the same everywhere, so that the kernels read it as they read anything else.

use super::interleave::interleave;
use super::plan::ConvArguments;
use super::weights::ConvWeights;
use crate::Epilogue;
use crate::product::{Product, Surface, WORD};
use crate::shared::Shared;
use crate::split::{Job, Split, by_group};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::TensorError;
use vedette_tensor::conv::{WindowAxis, Windows};

/// Bytes that a strip may have, so that it stays in L2 beside the weights.
const STRIP_BYTES: usize = 128 * 1024;

/// Strips may be larger where weights are: they are read again for every strip.
const MOST_STRIP_BYTES: usize = 512 * 1024;

/// Bytes beyond which a strip of one output line is refused.
const MOST_BYTES: usize = 1 << 40;

/// Bytes behind a strip that kernels may read with the last of its pixels.
const SLACK: usize = 64;

#[derive(Debug)]
pub(super) struct Strips {
    windows: Windows,
    /// Strides of the input.
    x: [isize; 5],
    zero_point: u8,
    /// Bytes of a pixel in the strip, and of one group of its channels.
    pixel_bytes: usize,
    group_bytes: usize,
    /// Pixels of a strip line.
    line_pixels: usize,
    /// Output lines of a strip, and input lines of each of its slices.
    block: usize,
    strip_lines: usize,
    /// Where each run of a window begins.
    runs: Vec<isize>,
    /// How windows are written out, where tiles would take their short runs one by one.
    rows: Option<Rows>,
    split: Split,
}

/// Windows whose runs are copied one behind the other, as one run.
#[derive(Debug)]
struct Rows {
    run_bytes: usize,
    row_bytes: usize,
}

impl Rows {
    /// Bytes copied at once.
    const COPY: usize = 16;

    /// A plan for windows of such runs, if it pays.
    fn new(weights: &ConvWeights, runs: usize) -> Option<Rows> {
        let columns = &weights.groups()[0];
        let (row_bytes, run_bytes) = (columns.words() * WORD, columns.words() * WORD / runs.max(1));
        let [whole, runs] = [row_bytes, run_bytes].map(|bytes| columns.takes_tiles(bytes / WORD));
        (whole && !runs && run_bytes <= Rows::COPY && weights.groups().len() == 1)
            .then_some(Rows { run_bytes, row_bytes })
    }

    /// Copies the runs of the windows of a line.
    ///
    /// # Safety
    /// [`COPY`](Self::COPY) bytes are readable at every run of `count` pixels from `line` on, `step` bytes apart, and
    /// so many more than the rows take writable at `to`.
    unsafe fn copy(&self, runs: &[isize], line: *const u8, step: usize, to: *mut u8, count: usize) {
        for pixel in 0..count {
            let (from, to) = (line.wrapping_add(pixel * step), to.wrapping_add(pixel * self.row_bytes));
            for (i, &run) in runs.iter().enumerate() {
                let from = from.wrapping_offset(run).cast::<[u8; Rows::COPY]>();
                // SAFETY: as granted by the caller. What is copied behind a run is written over by the next one.
                unsafe { from.copy_to_nonoverlapping(to.add(i * self.run_bytes).cast(), 1) };
            }
        }
    }
}

impl Strips {
    pub(super) fn new(
        threads: usize,
        windows: &Windows,
        x: [isize; 5],
        zero_point: u8,
        weights: &ConvWeights,
    ) -> Result<Strips, TensorError> {
        let [depth, height, width] = &windows.axes;
        let joined = windows.joins_taps();
        let group_bytes = if joined { windows.channels } else { windows.channels.next_multiple_of(4) };
        let pixel_bytes = group_bytes * windows.groups;
        let line_pixels = (width.output.max(1) - 1) * width.stride + width.extent();
        let one_line = [depth.kernel, height.extent(), line_pixels, pixel_bytes];
        let bytes = one_line.iter().try_fold(1usize, |size, &by| size.checked_mul(by));
        if bytes.is_none_or(|bytes| bytes > MOST_BYTES) {
            return Err(TensorError(format!(
                "a convolution whose windows span {} x {} x {line_pixels} positions of {pixel_bytes} bytes",
                depth.kernel,
                height.extent()
            )));
        }
        let line_bytes = line_pixels * pixel_bytes;
        let job = Job {
            units: windows.batch * depth.output * height.output,
            multiple: 1,
            unit_pixels: width.output,
            columns: &weights.groups()[0],
            groups: windows.groups,
            input_bytes: windows.count() * pixel_bytes * height.stride * width.stride,
        };
        let split = Split::new(&job, threads);
        let budget = (weights.bytes() / 2).clamp(STRIP_BYTES, MOST_STRIP_BYTES) / depth.kernel.max(1);
        let fitting = (budget / line_bytes.max(1)).saturating_sub(height.extent()) / height.stride + 1;
        let block = fitting.min(split.most_units()).min(height.output).max(1);
        let strip_lines = (block - 1) * height.stride + height.extent();
        let mut runs = Vec::new();
        for z in 0..depth.kernel {
            for y in 0..height.kernel {
                let line = (z * strip_lines + y * height.dilation) * line_bytes;
                let taps = if joined { 1 } else { width.kernel };
                runs.extend((0..taps).map(|tap| (line + tap * width.dilation * pixel_bytes) as isize));
            }
        }
        let rows = if joined { Rows::new(weights, runs.len()) } else { None };
        let windows = windows.clone();
        Ok(Strips {
            windows,
            x,
            zero_point,
            pixel_bytes,
            group_bytes,
            line_pixels,
            block,
            strip_lines,
            runs,
            rows,
            split,
        })
    }

    fn strip_bytes(&self) -> usize {
        let lines = self.windows.axes[0].kernel * self.strip_lines;
        (lines * self.line_pixels * self.pixel_bytes + SLACK).next_multiple_of(64)
    }

    /// Bytes of the windows of a strip that are written out.
    fn rows_bytes(&self) -> usize {
        let Some(rows) = &self.rows else { return 0 };
        (self.block * self.windows.axes[2].output * rows.row_bytes + SLACK).next_multiple_of(64)
    }

    pub(super) fn scratch_bytes(&self) -> usize {
        self.split.parts() * (self.strip_bytes() + self.rows_bytes())
    }

    /// # Safety
    /// As for [`super::ConvPlan::run`].
    pub(super) unsafe fn run(
        &self,
        arguments: &ConvArguments,
        weights: &ConvWeights,
        epilogue: &Epilogue,
        scratch: *mut u8,
        pool: &ThreadPool,
    ) {
        let scratch = Shared::new(scratch);
        let each = weights.groups()[0].panels().len();
        let [depth, height, width] = &self.windows.axes;
        let [image_step, slice_step, line_step, pixel_step] = self.windows.steps;
        self.split.run(pool, |part, lines, panels| {
            let strip = scratch.get().wrapping_add(part * (self.strip_bytes() + self.rows_bytes()));
            let line_bytes = self.line_pixels * self.pixel_bytes;
            let mut line = lines.start;
            while line < lines.end {
                let (slice, y) = (line / height.output, line % height.output);
                let (n, z) = (slice / depth.output, slice % depth.output);
                let count = self.block.min(lines.end - line).min(height.output - y);
                // SAFETY: the part has this strip for itself.
                unsafe { self.fill(epilogue.isa, arguments.x, strip, [n, z, y], count) };
                let mut input = Surface {
                    base: strip.cast_const(),
                    line_step: (height.stride * line_bytes) as isize,
                    pixel_step: (width.stride * self.pixel_bytes) as isize,
                };
                let mut runs = &self.runs[..];
                if let Some(rows) = &self.rows {
                    let begin = strip.wrapping_add(self.strip_bytes());
                    let row_line = width.output * rows.row_bytes;
                    for line in 0..count {
                        let from = strip.wrapping_add(line * height.stride * line_bytes);
                        let to = begin.wrapping_add(line * row_line);
                        // SAFETY: windows of the strip, which has slack behind it, as have the part's own rows.
                        unsafe {
                            rows.copy(&self.runs, from, width.stride * self.pixel_bytes, to, width.output)
                        };
                    }
                    input = Surface {
                        base: begin.cast_const(),
                        line_step: row_line as isize,
                        pixel_step: rows.row_bytes as isize,
                    };
                    runs = &[0];
                }
                by_group(panels.clone(), each, |group, panels| {
                    let channel = group * self.windows.columns;
                    let first = n * image_step + z * slice_step + y * line_step;
                    let at = self.windows.first + first + channel;
                    let residual = arguments.residual;
                    let product = Product {
                        columns: &weights.groups()[group],
                        runs,
                        epilogue,
                        channel,
                        width: width.output,
                        input: Surface { base: input.base.wrapping_add(group * self.group_bytes), ..input },
                        out: Surface {
                            base: arguments.out.wrapping_add(at * epilogue.output_bytes()),
                            line_step: line_step as isize,
                            pixel_step: pixel_step as isize,
                        },
                        residual: if residual.is_null() { residual } else { residual.wrapping_add(at) },
                        first_row: 0,
                    };
                    // SAFETY: the strip has every run of these lines; the parts' outputs are their own.
                    unsafe { product.run(0..count, panels) };
                });
                line += count;
            }
        });
    }

    /// Copies the input lines under `count` output lines from image `n`, slice `z`, line `y` on.
    ///
    /// # Safety
    /// `x` is the input; the strip is writable.
    unsafe fn fill(&self, isa: Isa, x: *const u8, strip: *mut u8, [n, z, y]: [usize; 3], count: usize) {
        let [depth, height, _] = &self.windows.axes;
        let line_bytes = self.line_pixels * self.pixel_bytes;
        let wanted = if height.kernel == 0 { 0 } else { (count - 1) * height.stride + height.extent() };
        for tap in 0..depth.kernel {
            let slice = depth.at(z, tap * depth.dilation);
            let from_slice =
                slice.map(|slice| x.wrapping_offset(n as isize * self.x[0] + slice as isize * self.x[2]));
            for line in 0..wanted {
                let to = strip.wrapping_add((tap * self.strip_lines + line) * line_bytes);
                // SAFETY: a line of the strip, and where it exists a line of the input.
                unsafe {
                    match (from_slice, height.at(y, line)) {
                        (Some(from), Some(position)) => {
                            self.copy_line(isa, from.wrapping_offset(position as isize * self.x[3]), to);
                        }
                        _ => to.write_bytes(self.zero_point, line_bytes),
                    }
                }
            }
        }
    }

    /// Copies a line of the input with its padding.
    ///
    /// # Safety
    /// `from` is the first pixel of a line of the input, `to` a line of the strip.
    unsafe fn copy_line(&self, isa: Isa, from: *const u8, to: *mut u8) {
        let WindowAxis { input, origin, .. } = self.windows.axes[2];
        let before = origin.min(0).unsigned_abs().min(self.line_pixels);
        let skipped = origin.max(0).unsigned_abs().min(input);
        let count = (input - skipped).min(self.line_pixels - before);
        let behind = (before + count) * self.pixel_bytes;
        // SAFETY: as granted by the caller.
        unsafe {
            to.write_bytes(self.zero_point, before * self.pixel_bytes);
            to.add(behind).write_bytes(self.zero_point, self.line_pixels * self.pixel_bytes - behind);
            let from = from.offset(skipped as isize * self.x[4]);
            self.copy_pixels(isa, from, to.add(before * self.pixel_bytes), count);
        }
    }

    /// # Safety
    /// As for [`copy_line`](Self::copy_line), for that many pixels.
    unsafe fn copy_pixels(&self, isa: Isa, from: *const u8, to: *mut u8, count: usize) {
        let [_, channel_step, _, _, pixel_step] = self.x;
        let each = self.windows.channels;
        let channels = each * self.windows.groups;
        let dense = channel_step == 1 || channels == 1;
        // SAFETY: as granted by the caller.
        unsafe {
            if dense && self.pixel_bytes == channels {
                if pixel_step == channels as isize {
                    std::ptr::copy_nonoverlapping(from, to, count * channels);
                } else {
                    for i in 0..count {
                        let pixel = from.offset(i as isize * pixel_step);
                        std::ptr::copy_nonoverlapping(pixel, to.add(i * channels), channels);
                    }
                }
                return;
            }
            if channels == 3 && self.pixel_bytes == 3 && pixel_step == 1 {
                interleave(isa, [0, 1, 2].map(|c| from.offset(c * channel_step)), to, count);
                return;
            }
            if self.pixel_bytes != channels {
                to.write_bytes(0, count * self.pixel_bytes);
            }
            for channel in 0..channels {
                let at = channel / each * self.group_bytes + channel % each;
                let plane = from.offset(channel as isize * channel_step);
                for i in 0..count {
                    *to.add(i * self.pixel_bytes + at) = *plane.offset(i as isize * pixel_step);
                }
            }
        }
    }
}
