//! Running a transposed convolution, phase by phase.

use super::{Axis, TransposeShape, TransposeWeights};
use crate::conv::geometry::five;
use crate::conv::interleave;
use crate::conv::plan::ConvArguments;
use crate::conv::rows::{WindowRows, WindowTables};
use crate::matmul::Epilogue;
use crate::matmul::product::Product;
use crate::matmul::split::{chunk, parts_for};
use std::sync::Arc;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;

struct Phase {
    start: [usize; 3],
    positions: [usize; 3],
    tables: WindowTables,
}

/// A planned transposed convolution with a channels-last output.
pub struct TransposePlan {
    shape: TransposeShape,
    weights: Arc<TransposeWeights>,
    phases: Vec<Phase>,
    /// Input strides to copy from, where its channels do not have unit stride.
    copy: Option<[isize; 5]>,
    zeros: AlignedBuffer,
    epilogue: Epilogue,
    parts: usize,
}

impl TransposePlan {
    /// Plans a transposed convolution of an input with these strides.
    pub fn new(
        threads: usize,
        shape: TransposeShape,
        x_strides: &[isize],
        weights: Arc<TransposeWeights>,
        epilogue: Epilogue,
    ) -> TransposePlan {
        let mut x = five(x_strides);
        let copy = (x[1] != 1 && shape.in_channels != 1).then_some(x);
        if copy.is_some() {
            let channels = shape.in_channels as isize;
            let line = channels * shape.axes[2].input as isize;
            let slice = line * shape.axes[1].input as isize;
            x = [slice * shape.axes[0].input as isize, 1, slice, line, channels];
        }
        let phases = shape
            .phases()
            .map(|start| {
                let mut axes = shape.axes;
                if shape.joins_columns() {
                    axes[2] = Axis { output: axes[2].input, kernel: 1, stride: 1, ..axes[2] };
                }
                let table = |i: usize| axes[i].table(start[i], x[i + 2]);
                let positions = [0, 1, 2].map(|i| axes[i].positions(start[i]));
                let taps = [0, 1, 2].map(|i| axes[i].taps(start[i]).len());
                let tables =
                    WindowTables::from_tables([table(0), table(1), table(2)], positions, taps, x[0], x[4]);
                Phase { start, positions, tables }
            })
            .collect();
        TransposePlan {
            zeros: AlignedBuffer::new(shape.in_channels * size_of::<f32>()),
            parts: parts_for(shape.work(), threads),
            shape,
            weights,
            phases,
            copy,
            epilogue,
        }
    }

    /// The sizes.
    pub fn shape(&self) -> &TransposeShape {
        &self.shape
    }

    fn bias_len(&self) -> usize {
        if self.shape.joins_columns() {
            (self.shape.axes[2].kernel * self.shape.out_channels).next_multiple_of(16)
        } else {
            0
        }
    }

    fn copy_len(&self) -> usize {
        let pixels: usize = self.shape.axes.iter().map(|axis| axis.input).product();
        if self.copy.is_some() { self.shape.batch * pixels * self.shape.in_channels } else { 0 }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        (self.weights.scratch_len() + self.bias_len() + self.copy_len()) * size_of::<f32>()
    }

    /// Runs the transposed convolution; the residual is not used.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let scratch = scratch.as_mut_ptr().cast::<f32>();
        // SAFETY: scratch begins with room for the packed weights.
        let packed = unsafe { self.weights.packed(arguments.w, scratch) };
        let mut arguments = *arguments;
        let repeated = scratch.wrapping_add(self.weights.scratch_len());
        if !arguments.bias.is_null() && self.bias_len() > 0 {
            for x in 0..self.shape.axes[2].kernel {
                // SAFETY: scratch has room for a bias for each column.
                unsafe {
                    let to = repeated.add(x * self.shape.out_channels);
                    std::ptr::copy_nonoverlapping(arguments.bias, to, self.shape.out_channels);
                }
            }
            arguments.bias = repeated;
        }
        if let Some(strides) = self.copy {
            let to = repeated.wrapping_add(self.bias_len());
            // SAFETY: scratch has room for the copy.
            unsafe { self.copy_input(arguments.x, strides, to, pool) };
            arguments.x = to;
        }
        let [depth, height, _] = self.shape.axes;
        let lines = self.shape.batch * depth.output * height.output;
        let shared = (arguments, Shared(packed.cast_mut()));
        pool.run(self.parts, |part| {
            let (arguments, packed) = &shared;
            for line in chunk(lines, self.parts, part, 1) {
                // SAFETY: the parts' lines are their own; the rest is the caller's promise.
                unsafe { self.run_line(arguments, packed.0, line) };
            }
        });
    }

    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn run_line(&self, arguments: &ConvArguments, packed: *const f32, line: usize) {
        let [depth, height, width] = &self.shape.axes;
        let (slice, y) = (line / height.output, line % height.output);
        let (batch, z) = (slice / depth.output, slice % depth.output);
        let channels = self.shape.out_channels;
        let (in_step, out_step) = (self.shape.in_channels / self.shape.groups, channels / self.shape.groups);
        for (phase, packing) in self.phases.iter().zip(&self.weights.phases) {
            if phase.start[0] != z % depth.stride || phase.start[1] != y % height.stride {
                continue;
            }
            let pixels = phase.positions[2];
            let row = ((batch * phase.positions[0] + z / depth.stride) * phase.positions[1]
                + y / height.stride)
                * pixels;
            let out_stride = channels * if self.bias_len() > 0 { width.kernel } else { width.stride };
            let first = (line * width.output + phase.start[2]) * channels;
            let product = Product {
                layout: &packing.layout,
                packed: packed.wrapping_add(packing.offset),
                taps: phase.tables.taps(),
                depth: in_step,
                // Rows count from the first of the phase, this line's begin at `row`.
                out: arguments.out.wrapping_add(first).wrapping_sub(row * out_stride),
                out_stride,
                bias: arguments.bias,
                residual: std::ptr::null(),
                residual_stride: 0,
                epilogue: self.epilogue,
            };
            for group in 0..self.shape.groups {
                let source = WindowRows {
                    tables: &phase.tables,
                    bases: [arguments.x.wrapping_add(group * in_step)],
                    zeros: self.zeros.as_ptr().cast(),
                };
                let panels = 0..packing.layout.panels.len();
                // SAFETY: the tables stay within the input, the rows within this line of the output.
                unsafe { product.group(group, out_step).run(&source, row..row + pixels, panels) };
            }
        }
    }

    /// # Safety
    /// `x` is the input; `to` has room for its values.
    unsafe fn copy_input(&self, x: *const f32, strides: [isize; 5], to: *mut f32, pool: &ThreadPool) {
        let sizes = self.shape.axes.map(|axis| axis.input);
        // SAFETY: as the caller grants.
        unsafe {
            interleave::copy_channels_last(
                x,
                strides,
                self.shape.batch,
                self.shape.in_channels,
                sizes,
                to,
                pool,
            );
        }
    }
}

struct Shared(*mut f32);

// SAFETY: whoever dereferences it keeps the threads' parts apart.
unsafe impl Sync for Shared {}
