use super::rows;
use super::{Mean, MeanOutput};
use crate::shared::Shared;
use crate::{TensorError, at_level};
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::conv::Axis;
use vedette_tensor::matmul::{chunk, parts_for};
use vedette_tensor::pool::PoolShape;

/// What becomes of the elements under a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WindowReduction {
    /// The largest u8.
    MaxU8,
    /// The largest i8.
    MaxI8,
    /// The largest bfloat16; a NaN counts as beyond the infinity of its sign.
    MaxBf16,
    /// The mean.
    Average {
        /// What the bytes stand for.
        mean: Mean,
        /// Whether padding counts as real zeros.
        include_pad: bool,
    },
}

impl WindowReduction {
    /// Bytes of an element of the input.
    fn element_bytes(&self) -> usize {
        if *self == WindowReduction::MaxBf16 { size_of::<Bf16>() } else { 1 }
    }

    /// Bytes of an element of lines that were combined.
    fn combined_bytes(&self) -> usize {
        match self {
            WindowReduction::Average { .. } => size_of::<i32>(),
            _ => self.element_bytes(),
        }
    }
}

/// The bits of a bfloat16, in the order of the values.
#[derive(Clone, Copy)]
struct Bf16(i16);

impl Bf16 {
    /// Of two values with a sign the one with the larger magnitude is less.
    #[inline(always)]
    fn key(self) -> i16 {
        self.0 ^ (self.0 >> 15 & i16::MAX)
    }
}

impl PartialEq for Bf16 {
    #[inline(always)]
    fn eq(&self, other: &Bf16) -> bool {
        self.key() == other.key()
    }
}

impl PartialOrd for Bf16 {
    #[inline(always)]
    fn partial_cmp(&self, other: &Bf16) -> Option<std::cmp::Ordering> {
        Some(self.key().cmp(&other.key()))
    }

    #[inline(always)]
    fn gt(&self, other: &Bf16) -> bool {
        self.key() > other.key()
    }
}

impl Default for Bf16 {
    /// The largest of nothing.
    fn default() -> Bf16 {
        Bf16(0xff80u16 as i16)
    }
}

/// Output pixels whose windows are cut alike.
#[derive(Clone, Debug, PartialEq)]
struct Run {
    pixels: Range<usize>,
    /// First input pixel of the first window.
    first: usize,
    /// Taps within the input.
    taps: usize,
    /// Taps within input and padding.
    padded: usize,
}

/// A planned pooling of elements whose channels lie next to each other, as do the pixels of a line; so do the output's.
pub struct PoolPlan {
    isa: Isa,
    shape: PoolShape,
    reduction: WindowReduction,
    runs: Vec<Run>,
    /// Strides of images, slices and lines.
    x: [isize; 3],
    parts: usize,
}

/// Bytes of combined lines that are made at once: with the lines themselves L1 is not full.
const PIECE: usize = 8 * 1024;

/// Windows whose sums might not fit 32 bits.
const MOST_TAPS: usize = 1 << 23;

fn padded_taps(axis: &Axis, output: usize) -> usize {
    let padded = axis.input + axis.pad_begin + axis.pad_end;
    padded.saturating_sub(output * axis.stride).div_ceil(axis.dilation).min(axis.kernel)
}

impl PoolPlan {
    /// Plans pooling of an input with these strides of images, slices and lines; the pixels of a line follow one
    /// another.
    pub fn new(
        isa: Isa,
        threads: usize,
        shape: PoolShape,
        reduction: WindowReduction,
        x: [isize; 3],
    ) -> Result<PoolPlan, TensorError> {
        let taps = shape.axes.iter().try_fold(1usize, |taps, axis| taps.checked_mul(axis.kernel));
        if taps.is_none_or(|taps| taps > MOST_TAPS) {
            return Err(TensorError("a window of more than 8 million taps".to_owned()));
        }
        let width = &shape.axes[2];
        let pixel_bytes = shape.channels * width.stride * reduction.combined_bytes();
        let most = (PIECE / pixel_bytes.max(1)).max(1);
        let mut runs: Vec<Run> = Vec::new();
        for pixel in 0..width.output {
            let within = width.taps_within(pixel);
            let first =
                (pixel * width.stride + within.start * width.dilation).saturating_sub(width.pad_begin);
            let run = Run {
                pixels: pixel..pixel + 1,
                first,
                taps: within.len(),
                padded: padded_taps(width, pixel),
            };
            match runs.last_mut() {
                Some(last)
                    if (last.taps, last.padded) == (run.taps, run.padded)
                        && run.taps > 0
                        && last.pixels.len() < most
                        && last.first + last.pixels.len() * width.stride == run.first =>
                {
                    last.pixels.end = pixel + 1;
                }
                _ => runs.push(run),
            }
        }
        let outputs: usize = shape.axes.iter().map(|axis| axis.output).product();
        let elements = (shape.batch * shape.channels * outputs) as u64;
        let parts = parts_for(elements.saturating_mul(taps.unwrap_or(1) as u64 + 4) / 4, threads);
        Ok(PoolPlan { isa, shape, reduction, runs, x, parts })
    }

    fn row(&self) -> usize {
        self.shape.axes[2].input * self.shape.channels
    }

    /// Elements of a combined line under any run, and sums of any run's outputs.
    fn most(&self) -> (usize, usize) {
        let under = self.runs.iter().map(|run| self.under(run).len()).max().unwrap_or(0);
        let pixels = self.runs.iter().map(|run| run.pixels.len()).max().unwrap_or(0);
        (under, pixels * self.shape.channels)
    }

    /// Bytes of scratch a part of the run needs: what lies under a run combined, and sums of its outputs.
    fn part_bytes(&self) -> usize {
        let (combined, sums) = self.most();
        let sums = if matches!(self.reduction, WindowReduction::Average { .. }) { sums } else { 0 };
        let bytes = (combined + sums) * self.reduction.combined_bytes();
        bytes.next_multiple_of(64)
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.parts * self.part_bytes()
    }

    /// Runs the pooling.
    ///
    /// # Safety
    /// `x` is the first element of the input as planned, aligned for its type, `out` has room for a channels-last output
    /// of the reduction's type; `scratch` has [`scratch_bytes`](Self::scratch_bytes) and is aligned for `i32`.
    pub unsafe fn run(&self, x: *const u8, out: *mut u8, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let [depth, height, width] = &self.shape.axes;
        let lines = self.shape.batch * depth.output * height.output;
        let outputs = width.output * self.shape.channels;
        let shared = Shared::new((x, out, scratch.as_mut_ptr()));
        pool.run(self.parts, |part| {
            let (x, out, scratch) = shared.get();
            let scratch = scratch.wrapping_add(part * self.part_bytes());
            for line in chunk(lines, self.parts, part, 1) {
                let (slice, y) = (line / height.output, line % height.output);
                let (batch, z) = (slice / depth.output, slice % depth.output);
                let image = batch as isize * self.x[0] * self.reduction.element_bytes() as isize;
                let x = x.wrapping_offset(image);
                let place = Place { x, z, y, scratch };
                let at = line * outputs;
                // SAFETY: a line of the output, which is this part's own, as is its scratch; the input is as planned.
                unsafe {
                    match self.reduction {
                        WindowReduction::MaxU8 => {
                            let out = std::slice::from_raw_parts_mut(out.wrapping_add(at), outputs);
                            at_level!(self.isa, self.max_line::<u8>(&place, &mut *out));
                        }
                        WindowReduction::MaxI8 => {
                            let out = out.wrapping_add(at).cast::<i8>();
                            let out = std::slice::from_raw_parts_mut(out, outputs);
                            at_level!(self.isa, self.max_line::<i8>(&place, &mut *out));
                        }
                        WindowReduction::MaxBf16 => {
                            let out = out.cast::<Bf16>().wrapping_add(at);
                            let out = std::slice::from_raw_parts_mut(out, outputs);
                            at_level!(self.isa, self.max_line::<Bf16>(&place, &mut *out));
                        }
                        WindowReduction::Average { mean, include_pad } => {
                            let out = out.wrapping_add(at * mean.output_bytes());
                            at_level!(self.isa, self.mean_line(&place, &mean, include_pad, out));
                        }
                    }
                }
            }
        });
    }

    /// The input lines under the windows of output line `z, y`.
    ///
    /// # Safety
    /// The place is one of the input, whose elements are `T`.
    #[inline(always)]
    unsafe fn lines<'a, T: 'a>(&'a self, place: &Place) -> impl Iterator<Item = &'a [T]> {
        let [depth, height, _] = self.shape.axes;
        let (z, y, x, row) = (place.z, place.y, place.x, self.row());
        depth.taps_within(z).flat_map(move |kz| {
            height.taps_within(y).filter_map(move |ky| {
                let (z, y) = (depth.at(z, kz)?, height.at(y, ky)?);
                let at = x.cast::<T>().wrapping_offset(z as isize * self.x[1] + y as isize * self.x[2]);
                // SAFETY: a line of the input, whose pixels follow one another.
                Some(unsafe { std::slice::from_raw_parts(at, row) })
            })
        })
    }

    /// # Safety
    /// The place is one of the input, whose elements are `T`, and its scratch has room for what lies under a run.
    #[inline(always)]
    unsafe fn max_line<T: Copy + PartialOrd + Default + 'static>(&self, place: &Place, out: &mut [T]) {
        // SAFETY: as granted; any bytes are a T.
        let combined = unsafe { std::slice::from_raw_parts_mut(place.scratch.cast::<T>(), self.most().0) };
        let channels = self.shape.channels;
        for run in &self.runs {
            let to = &mut out[run.pixels.start * channels..run.pixels.end * channels];
            let from = self.under(run);
            // SAFETY: as granted.
            let mut lines = unsafe { self.lines::<T>(place) };
            let Some(first) = lines.next().filter(|_| run.taps > 0) else {
                to.fill(T::default());
                continue;
            };
            let mut row = &first[from.clone()];
            if let Some(second) = lines.next() {
                let combined = &mut combined[..row.len()];
                rows::max_of(combined, row, &second[from.clone()]);
                for line in lines {
                    rows::max(combined, &line[from.clone()]);
                }
                row = combined;
            }
            let tap = self.shape.axes[2].dilation * channels;
            for (to, from) in self.windows(to) {
                let row = &row[from..];
                if run.taps == 1 {
                    to.copy_from_slice(&row[..to.len()]);
                    continue;
                }
                rows::max_of(to, row, &row[tap..]);
                for further in 2..run.taps {
                    rows::max(to, &row[further * tap..]);
                }
            }
        }
    }

    /// Elements of an input line under the windows of a run.
    fn under(&self, run: &Run) -> Range<usize> {
        let (channels, width) = (self.shape.channels, &self.shape.axes[2]);
        let Some(further) = run.taps.checked_sub(1) else { return 0..0 };
        let last = run.first + (run.pixels.len() - 1) * width.stride + further * width.dilation;
        run.first * channels..(last + 1) * channels
    }

    /// The outputs of a run, in pieces whose windows begin at neighbouring input pixels; and where in what lies under the
    /// run the first begins.
    fn windows<'a, T>(&self, outputs: &'a mut [T]) -> impl Iterator<Item = (&'a mut [T], usize)> {
        let (channels, stride) = (self.shape.channels, self.shape.axes[2].stride);
        let piece = if stride == 1 { outputs.len() } else { channels };
        let pieces = outputs.chunks_exact_mut(piece.max(1)).enumerate();
        pieces.map(move |(i, outputs)| (outputs, i * stride * channels))
    }

    /// # Safety
    /// The place is one of the input, and its scratch has room for what lies under a run and its outputs; `out` for a line of the output.
    #[inline(always)]
    unsafe fn mean_line(&self, place: &Place, mean: &Mean, include_pad: bool, out: *mut u8) {
        let channels = self.shape.channels;
        let (most, outputs) = self.most();
        let sums = place.scratch.cast::<i32>();
        // SAFETY: as granted; the two are apart, and the zeros make them initialised.
        let (columns, sums) = unsafe {
            (
                std::slice::from_raw_parts_mut(sums, most),
                std::slice::from_raw_parts_mut(sums.add(most), outputs),
            )
        };
        let tap = self.shape.axes[2].dilation * channels;
        let [depth, height, _] = &self.shape.axes;
        let within = depth.taps_within(place.z).len() * height.taps_within(place.y).len();
        let padded = padded_taps(depth, place.z) * padded_taps(height, place.y);
        for run in &self.runs {
            let (from, range) = (self.under(run), run.pixels.start * channels..run.pixels.end * channels);
            let (columns, sums) = (&mut columns[..from.len()], &mut sums[..range.len()]);
            columns.fill(0);
            // SAFETY: as granted.
            for line in unsafe { self.lines::<u8>(place) } {
                rows::add_bytes(columns, &line[from.clone()]);
            }
            sums.fill(0);
            for (to, from) in self.windows(&mut *sums) {
                for further in 0..run.taps {
                    rows::add(to, &columns[from + further * tap..]);
                }
            }
            let taken = within * run.taps;
            let count = if include_pad { padded * run.padded } else { taken };
            let zeros = taken as i32 * i32::from(mean.x.zero_point());
            let factor = mean.factor(count.max(1));
            match mean.output {
                MeanOutput::Bytes(to) => {
                    // SAFETY: these pixels of the line.
                    let out = unsafe { std::slice::from_raw_parts_mut(out.add(range.start), range.len()) };
                    for (out, &mut sum) in out.iter_mut().zip(sums) {
                        *out = to.apply((sum - zeros) as f32 * factor);
                    }
                }
                MeanOutput::Real => {
                    // SAFETY: these pixels of the line, which is aligned for f32.
                    let out = unsafe {
                        std::slice::from_raw_parts_mut(out.cast::<f32>().add(range.start), range.len())
                    };
                    for (out, &mut sum) in out.iter_mut().zip(sums) {
                        *out = (sum - zeros) as f32 * factor;
                    }
                }
            }
        }
    }
}

/// An output line, the image it is of, and memory to work in.
struct Place {
    x: *const u8,
    z: usize,
    y: usize,
    scratch: *mut u8,
}
