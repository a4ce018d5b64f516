//! Convolution of each channel by itself, on channels-last memory.

#[cfg(target_arch = "x86_64")]
mod grouped;
mod plain;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;
mod weights;

pub use weights::DepthwiseWeights;

use crate::conv::ConvArguments;
#[cfg(target_arch = "x86_64")]
use crate::epilogue::quarters::Quarters;
use crate::shared::Shared;
use crate::{Epilogue, SumBlock, TensorError};
use smallvec::SmallVec;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_tensor::conv::{Axis, ConvShape, five};
use vedette_tensor::matmul::{chunk, parts_for};
use vedette_tensor::movement::Copy;
use vedette_tensor::{DType, Dims, Strides, View, ViewMut, channels_last_strides};

/// Channels computed together: the bytes of the widest vector.
const CHANNELS: usize = 64;

/// How an input in another memory order is copied first.
struct Reorder {
    copy: Copy,
    shape: Dims,
    from: Strides,
    to: Strides,
    bytes: usize,
}

/// A planned depthwise convolution with a channels-last output.
pub struct DepthwisePlan {
    batch: usize,
    channels: usize,
    axes: [Axis; 3],
    zero_point: u8,
    /// Strides of images, slices, lines and pixels.
    x: [isize; 4],
    reorder: Option<Reorder>,
    weights: Arc<DepthwiseWeights>,
    epilogue: Arc<Epilogue>,
    /// The epilogue's parameters in the order of interleaved sums, where it takes them so.
    #[cfg(target_arch = "x86_64")]
    quarters: Option<Quarters>,
    parts: usize,
}

/// Output lines (of one slice) and channels that are computed at once.
struct Unit {
    /// The image.
    batch: usize,
    slice: usize,
    /// Lines from here on.
    line: usize,
    lines: usize,
    /// First channel.
    channel: usize,
    /// Channels, at most [`CHANNELS`].
    count: usize,
}

impl DepthwisePlan {
    /// Plans a convolution of an input with these strides. The weights were packed for `zero_point`, which stands for
    /// zero in the input and in its padding.
    pub fn new(
        threads: usize,
        shape: &ConvShape,
        x_strides: &[isize],
        zero_point: u8,
        weights: Arc<DepthwiseWeights>,
        epilogue: Arc<Epilogue>,
    ) -> Result<DepthwisePlan, TensorError> {
        let channels = shape.in_channels;
        if shape.groups != channels || shape.out_channels != channels || weights.channels() != channels {
            return Err(TensorError(format!("{shape:?} is no depthwise convolution")));
        }
        let own = five(x_strides);
        let mut x = [own[0], own[2], own[3], own[4]];
        let mut reorder = None;
        let apart = weights.pixels() > 1 && own[4] != channels as isize;
        if (own[1] != 1 && channels != 1) || apart {
            let sizes = shape.axes[3 - shape.rank..].iter().map(|axis| axis.input);
            let dims: Dims = [shape.batch, channels].into_iter().chain(sizes).collect();
            let to = channels_last_strides(&dims);
            let last = five(&to);
            x = [last[0], last[2], last[3], last[4]];
            let bytes = dims.iter().product::<usize>().next_multiple_of(64);
            let copy = Copy::new(&dims, x_strides, &to, 1);
            reorder = Some(Reorder { copy, shape: dims, from: x_strides.into(), to, bytes });
        }
        // A byte costs about a quarter of a multiplication of floats, and the epilogue as much as a few taps.
        let outputs: usize = shape.axes.iter().map(|axis| axis.output).product();
        let work = (shape.batch * channels * outputs) as u64 * (shape.taps() as u64 + 16) / 4;
        let parts = parts_for(work, threads);
        let axes = shape.axes;
        let batch = shape.batch;
        Ok(DepthwisePlan {
            batch,
            channels,
            axes,
            zero_point,
            x,
            reorder,
            #[cfg(target_arch = "x86_64")]
            quarters: if weights.is_interleaved() {
                Quarters::new(&epilogue, weights.pixels())
            } else {
                None
            },
            weights,
            epilogue,
            parts,
        })
    }

    /// Bytes of scratch a part of the run needs.
    fn part_bytes(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.weights.is_interleaved() {
            return vnni::scratch_bytes(self);
        }
        plain::scratch_bytes(self)
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.reorder.as_ref().map_or(0, |reorder| reorder.bytes) + self.parts * self.part_bytes()
    }

    /// Runs the convolution.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes) and is aligned to 64 bytes.
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let mut arguments = *arguments;
        let mut scratch = scratch;
        if let Some(reorder) = &self.reorder {
            let (copied, rest) = scratch.split_at_mut(reorder.bytes);
            let to = copied.as_mut_ptr();
            // SAFETY: the input is as planned; the scratch memory has room for as many bytes.
            unsafe {
                let (shape, from) = (reorder.shape.clone(), reorder.from.clone());
                let from = View::from_raw_parts(DType::U8, shape.clone(), from, arguments.x);
                let mut to = ViewMut::from_raw_parts(DType::U8, shape, reorder.to.clone(), to);
                reorder.copy.run(&from, &mut to, pool);
            }
            arguments.x = to;
            scratch = rest;
        }
        let lines_each = self.weights.lines();
        let [depth, height, _] = &self.axes;
        let (groups, blocks) = (height.output.div_ceil(lines_each), self.channels.div_ceil(CHANNELS));
        let units = self.batch * depth.output * groups * blocks;
        let shared = (arguments, Shared::new(scratch.as_mut_ptr()));
        pool.run(self.parts, |part| {
            let (arguments, scratch) = &shared;
            let scratch = scratch.get().wrapping_add(part * self.part_bytes());
            for unit in chunk(units, self.parts, part, 1) {
                let (block, rest) = (unit % blocks, unit / blocks);
                let (group, rest) = (rest % groups, rest / groups);
                let line = group * lines_each;
                let unit = Unit {
                    batch: rest / depth.output,
                    slice: rest % depth.output,
                    line,
                    lines: lines_each.min(height.output - line),
                    channel: block * CHANNELS,
                    count: CHANNELS.min(self.channels - block * CHANNELS),
                };
                // SAFETY: lines and channels that are this part's own, as is its scratch memory.
                unsafe {
                    #[cfg(target_arch = "x86_64")]
                    if self.weights.is_interleaved() {
                        vnni::run(self, arguments, &unit, scratch);
                        continue;
                    }
                    plain::run(self, arguments, &unit, scratch);
                }
            }
        });
    }

    /// The input lines under the kernel for output line `line`, tap by tap; null where they are outside.
    fn input_lines(&self, arguments: &ConvArguments, unit: &Unit, line: usize) -> Lines {
        let [depth, height, _] = &self.axes;
        let image = arguments.x.wrapping_offset(unit.batch as isize * self.x[0]);
        let mut lines = Lines::new();
        for kz in 0..depth.kernel {
            for ky in 0..height.kernel {
                lines.push(match (depth.at(unit.slice, kz), height.at(line, ky)) {
                    (Some(z), Some(y)) => image
                        .wrapping_offset(z as isize * self.x[1] + y as isize * self.x[2])
                        .wrapping_add(unit.channel),
                    _ => std::ptr::null(),
                });
            }
        }
        lines
    }

    /// The number of an output's first channel of a unit.
    fn output_at(&self, unit: &Unit, line: usize, pixel: usize) -> usize {
        let [depth, height, width] = &self.axes;
        let slice = unit.batch * depth.output + unit.slice;
        ((slice * height.output + line) * width.output + pixel) * self.channels + unit.channel
    }

    /// Finishes the sums of `pixels` output pixels from `pixel` of a line on, channels in order.
    ///
    /// # Safety
    /// `sums` has a row of [`CHANNELS`] for each; the pixels and channels are the caller's own.
    unsafe fn finish(
        &self,
        arguments: &ConvArguments,
        unit: &Unit,
        (line, pixel, pixels): (usize, usize, usize),
        sums: *const i32,
    ) {
        let at = self.output_at(unit, line, pixel);
        let residual = match arguments.residual.is_null() {
            true => arguments.residual,
            false => arguments.residual.wrapping_add(at),
        };
        let block = SumBlock {
            sums,
            sums_stride: CHANNELS,
            rows: pixels,
            channel: unit.channel,
            columns: unit.count,
            out: arguments.out.wrapping_add(at * self.epilogue.output_bytes()),
            out_stride: self.channels,
            residual,
            residual_stride: self.channels,
        };
        // SAFETY: the block describes these pixels and channels, which are the caller's own.
        unsafe { self.epilogue.run(&block) };
    }
}

/// Pointers to lines; without allocation for the usual kernels.
type Lines = SmallVec<[*const u8; 16]>;
