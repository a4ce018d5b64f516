//! Windows over a rounded, padded copy of a few lines of the input, so small that it stays in cache.
//!
//! In the copy every tap of every window exists, borders are zero, and what lies between two windows of a line is the
//! same everywhere, so that the kernels read it as they read anything else.

use super::plan::Arguments;
use super::weights::padded_channels;
use crate::product::{ColumnLayout, Finish, Product, Surface};
use crate::shared::{CACHE_LINE, Shared};
use crate::values::Value;
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Runs};
use vedette_tensor::TensorError;
use vedette_tensor::conv::{WindowAxis, Windows};
use vedette_tensor::matmul::{chunk, parts_for};

/// Bytes that a strip may have, so that it stays in L2 beside the weights.
const STRIP_BYTES: usize = 384 * 1024;

/// Output lines that a strip should have at least, where a narrower strip makes that possible: the lines between two
/// strips are copied for both.
const FEWEST_LINES: usize = 4;

/// Output pixels below which a strip is not made narrower.
const NARROWEST: usize = 64;

/// Bytes beyond which a strip of one output line is refused.
const MOST_BYTES: usize = 1 << 40;

#[derive(Debug)]
pub(super) struct Strips {
    windows: Windows,
    /// Strides of each input.
    x: [isize; 5],
    inputs: usize,
    /// Values of a pixel in the strip.
    pixel_len: usize,
    /// Pixels of a strip line.
    line_pixels: usize,
    /// Input lines of each slice of a strip.
    strip_lines: usize,
    /// Blocks of output lines of a slice, and pieces of a line.
    line_blocks: usize,
    pieces: usize,
    /// Where each run of a window begins.
    runs: Vec<isize>,
    panels: usize,
    unit_parts: usize,
    panel_parts: usize,
}

impl Strips {
    pub(super) fn new(
        threads: usize,
        windows: &Windows,
        x: [isize; 5],
        inputs: usize,
        layout: &ColumnLayout,
    ) -> Result<Strips, TensorError> {
        let [depth, height, width] = &windows.axes;
        let pixel_len = padded_channels(windows);
        let pixels = |outputs: usize| (outputs.max(1) - 1) * width.stride + width.extent();
        let one_line = [depth.kernel, height.extent(), pixels(width.output), pixel_len * size_of::<u16>()];
        let bytes = one_line.iter().try_fold(1usize, |size, &by| size.checked_mul(by));
        if bytes.is_none_or(|bytes| bytes > MOST_BYTES) {
            return Err(TensorError(format!(
                "a convolution whose windows span {} x {} x {} positions of {pixel_len} channels",
                depth.kernel,
                height.extent(),
                pixels(width.output)
            )));
        }
        // Output lines that fit a strip of so many output pixels.
        let fitting = |outputs: usize| {
            let line_bytes = pixels(outputs) * pixel_len * size_of::<u16>() * depth.kernel.max(1);
            (STRIP_BYTES / line_bytes.max(1)).saturating_sub(height.extent()) / height.stride + 1
        };
        let mut pieces = 1;
        let piece = |pieces: usize| width.output.div_ceil(pieces).next_multiple_of(16);
        while piece(pieces) > NARROWEST && fitting(piece(pieces)) < FEWEST_LINES.min(height.output) {
            pieces += 1;
        }
        let panels = layout.panels().len();
        let work = (windows.count() * windows.taps() * windows.channels) as u64 * windows.columns as u64;
        let parts = parts_for(work / layout.kernel().speed, threads);
        let slices = windows.batch * depth.output;
        // As many blocks as there are parts to share them, if there are lines for that.
        let most_lines = fitting(piece(pieces)).clamp(1, height.output.max(1));
        let wanted = parts.div_ceil((slices * pieces).max(1));
        let line_blocks = height.output.div_ceil(most_lines).max(wanted.min(height.output)).max(1);
        let units = slices * line_blocks * pieces;
        let unit_parts = parts.min(units).max(1);
        let panel_parts = (parts / unit_parts).clamp(1, panels.max(1));
        let block = height.output.div_ceil(line_blocks).max(1);
        let strip_lines = (block - 1) * height.stride + height.extent();
        let line_pixels = pixels(piece(pieces).min(width.output));
        let line_len = line_pixels * pixel_len;
        let mut runs = Vec::new();
        for z in 0..depth.kernel {
            for y in 0..height.kernel {
                let line = (z * strip_lines + y * height.dilation) * line_len;
                let taps = if windows.joins_taps() { 1 } else { width.kernel };
                runs.extend((0..taps).map(|tap| (line + tap * width.dilation * pixel_len) as isize));
            }
        }
        let windows = windows.clone();
        Ok(Strips {
            windows,
            x,
            inputs,
            pixel_len,
            line_pixels,
            strip_lines,
            line_blocks,
            pieces,
            runs,
            panels,
            unit_parts,
            panel_parts,
        })
    }

    fn strip_bytes(&self) -> usize {
        let lines = self.windows.axes[0].kernel * self.strip_lines;
        (lines * self.line_pixels * self.pixel_len * size_of::<u16>()).next_multiple_of(CACHE_LINE)
    }

    pub(super) fn scratch_bytes(&self) -> usize {
        self.unit_parts * self.panel_parts * self.strip_bytes()
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
        let [depth, height, width] = &self.windows.axes;
        let [image_step, slice_step, line_step, pixel_step] = self.windows.steps;
        let units = self.windows.batch * depth.output * self.line_blocks * self.pieces;
        let line_len = self.line_pixels * self.pixel_len;
        pool.run(self.unit_parts * self.panel_parts, |part| {
            let (scratch, packed) = (&scratch, &packed);
            let strip = scratch.0.wrapping_add(part * self.strip_bytes()).cast::<u16>();
            let panels = chunk(self.panels, self.panel_parts, part % self.panel_parts, 1);
            for unit in chunk(units, self.unit_parts, part / self.panel_parts, 1) {
                let (block, piece) = (unit / self.pieces, unit % self.pieces);
                let (slice, block) = (block / self.line_blocks, block % self.line_blocks);
                let (n, z) = (slice / depth.output, slice % depth.output);
                let lines = chunk(height.output, self.line_blocks, block, 1);
                let pixels = chunk(width.output, self.pieces, piece, 16);
                if lines.is_empty() || pixels.is_empty() {
                    continue;
                }
                let first =
                    n * image_step + z * slice_step + lines.start * line_step + pixels.start * pixel_step;
                let at = self.windows.first + first;
                let residual = arguments.residual;
                let product = Product {
                    columns: layout,
                    packed: packed.0.cast::<u16>().cast_const(),
                    runs: &self.runs,
                    epilogue,
                    width: pixels.len(),
                    input: Surface {
                        base: strip.cast_const(),
                        line_step: (height.stride * line_len) as isize,
                        pixel_step: (width.stride * self.pixel_len) as isize,
                    },
                    out: Surface {
                        base: arguments.out.wrapping_add(at),
                        line_step: line_step as isize,
                        pixel_step: pixel_step as isize,
                    },
                    bias: arguments.bias,
                    residual: if residual.is_null() { residual } else { residual.wrapping_add(at) },
                    plain: false,
                };
                // SAFETY: the part has this strip for itself, which has every run of these lines; the parts' outputs
                // are their own.
                unsafe {
                    for (i, &x) in arguments.inputs.iter().enumerate() {
                        self.fill(layout.isa(), i, x, strip, [n, z], &lines, &pixels);
                    }
                    product.run(0..lines.len(), panels.clone());
                }
            }
        });
    }

    /// Copies the input lines under these output lines and pixels of image `n`, slice `z`.
    ///
    /// # Safety
    /// `x` is the input of that number; the strip is writable.
    unsafe fn fill<T: Value>(
        &self,
        isa: Isa,
        number: usize,
        x: *const T,
        strip: *mut u16,
        [n, z]: [usize; 2],
        lines: &Range<usize>,
        pixels: &Range<usize>,
    ) {
        let [depth, height, width] = &self.windows.axes;
        let line_len = self.line_pixels * self.pixel_len;
        let wanted = match height.kernel {
            0 => 0,
            _ => (lines.len() - 1) * height.stride + height.extent(),
        };
        // A line of the strip begins at the first tap of its first pixel.
        let origin = (pixels.start * width.stride) as isize + width.origin;
        let columns = (pixels.len() - 1) * width.stride + width.extent();
        for tap in 0..depth.kernel {
            let slice = depth.at(z, tap * depth.dilation);
            let from_slice =
                slice.map(|slice| x.wrapping_offset(n as isize * self.x[0] + slice as isize * self.x[2]));
            for line in 0..wanted {
                let to = strip.wrapping_add((tap * self.strip_lines + line) * line_len);
                // SAFETY: a line of the strip, and where it exists a line of the input.
                unsafe {
                    match (from_slice, height.at(lines.start, line)) {
                        (Some(from), Some(position)) => {
                            let from = from.wrapping_offset(position as isize * self.x[3]);
                            self.copy_line(isa, number, from, origin, columns, to);
                        }
                        _ if number == 0 => to.write_bytes(0, columns * self.pixel_len),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Copies `columns` pixels of a line of the input from `origin` on, zeros where there are none.
    ///
    /// # Safety
    /// `from` is the first pixel of a line of the input, `to` a line of the strip.
    unsafe fn copy_line<T: Value>(
        &self,
        isa: Isa,
        number: usize,
        from: *const T,
        origin: isize,
        columns: usize,
        to: *mut u16,
    ) {
        let WindowAxis { input, .. } = self.windows.axes[2];
        let before = origin.min(0).unsigned_abs().min(columns);
        let skipped = origin.max(0).unsigned_abs().min(input);
        let count = (input - skipped).min(columns - before);
        let behind = before + count;
        // SAFETY: as granted by the caller.
        unsafe {
            if number == 0 {
                to.write_bytes(0, before * self.pixel_len);
                to.add(behind * self.pixel_len).write_bytes(0, (columns - behind) * self.pixel_len);
            }
            let from = from.offset(skipped as isize * self.x[4]);
            self.copy_pixels(isa, number, from, to.add(before * self.pixel_len), count);
        }
    }

    /// # Safety
    /// As for [`copy_line`](Self::copy_line), for that many pixels.
    unsafe fn copy_pixels<T: Value>(
        &self,
        isa: Isa,
        number: usize,
        from: *const T,
        to: *mut u16,
        count: usize,
    ) {
        let [_, channel_step, _, _, pixel_step] = self.x;
        let channels = self.windows.channels / self.inputs;
        let first = number * channels;
        let padding = self.pixel_len - self.windows.channels;
        // SAFETY: as granted by the caller.
        unsafe {
            if channel_step == 1 && pixel_step == self.pixel_len as isize && self.inputs == 1 && padding == 0
            {
                let run = Runs { count: 1, len: count * channels, from_step: 0, to_step: 0 };
                T::copy_runs(isa, from, to, run);
                return;
            }
            if channels == 3 && self.pixel_len == 4 && pixel_step == 1 {
                T::interleave(isa, [0, 1, 2].map(|c| from.offset(c * channel_step)), to, count);
                return;
            }
            if channel_step == 1 {
                let to_step = self.pixel_len as isize;
                let pixels = Runs { count, len: channels, from_step: pixel_step, to_step };
                T::copy_runs(isa, from, to.add(first), pixels);
            } else {
                for channel in 0..channels {
                    let plane = from.offset(channel as isize * channel_step);
                    for i in 0..count {
                        let value = (*plane.offset(i as isize * pixel_step)).bits();
                        to.add(i * self.pixel_len + first + channel).write(value);
                    }
                }
            }
            if padding > 0 && first + channels == self.windows.channels {
                for i in 0..count {
                    to.add(i * self.pixel_len + self.windows.channels).write_bytes(0, padding);
                }
            }
        }
    }
}
