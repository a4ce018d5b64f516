use super::core::Core;
use super::rows::{RowScale, quantize_row};
use crate::epilogue::{Finish, SumBlock};
use crate::lanes::Lanes;
use crate::product::{BLOCK, PackedColumns};
use crate::shared::Shared;
use std::ops::Range;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};
use vedette_tensor::Activation;
use vedette_tensor::matmul::split::chunk;

/// What follows the sums of a product with rows quantized one by one:
/// `activation(f32(sum - zero_point * total) * scale[column] * scale[row] + bias + residual)`.
#[derive(Debug)]
pub struct DynamicParameters {
    isa: Isa,
    /// A value a column, and zeros behind the last up to a whole vector.
    scales: Vec<f32>,
    biases: Vec<f32>,
    activation: Option<Activation>,
}

impl DynamicParameters {
    /// Parameters with the scales of the columns.
    ///
    /// # Panics
    /// Where there is a bias of another length than the scales.
    pub fn new(isa: Isa, scales: &[f32], bias: Option<&[f32]>, activation: Option<Activation>) -> Self {
        assert!(bias.is_none_or(|bias| bias.len() == scales.len()));
        let padded = |values: &[f32]| {
            let mut padded = values.to_vec();
            padded.resize(scales.len().next_multiple_of(BLOCK), 0.0);
            padded
        };
        DynamicParameters { isa, scales: padded(scales), biases: padded(bias.unwrap_or(&[])), activation }
    }
}

struct DynamicFinish<'a> {
    parameters: &'a DynamicParameters,
    totals: &'a [i32],
    rows: *const RowScale,
}

// SAFETY: the rows' scales are written before the product reads them.
unsafe impl Sync for DynamicFinish<'_> {}

impl Finish for DynamicFinish<'_> {
    fn output_bytes(&self) -> usize {
        size_of::<f32>()
    }

    fn residual_bytes(&self) -> usize {
        size_of::<f32>()
    }

    unsafe fn finish(&self, block: &SumBlock, first_row: usize) {
        // SAFETY: as granted by the caller.
        dispatch!(self.parameters.isa, S => unsafe { self.finish_rows::<S>(block, first_row) });
    }
}

impl DynamicFinish<'_> {
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn finish_rows<S: Lanes>(&self, block: &SumBlock, first_row: usize) {
        // SAFETY: as granted by the caller.
        unsafe { self.write::<S>(block, first_row) };
        if let Some(activation) = self.parameters.activation {
            for row in 0..block.rows {
                // SAFETY: a row of the outputs that were just written.
                unsafe {
                    let out = block.out.cast::<f32>().add(row * block.out_stride);
                    activation.map_raw::<S>(out, out, block.columns);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn write<S: Lanes>(&self, block: &SumBlock, first_row: usize) {
        for column in (0..block.columns).step_by(S::LANES) {
            let (at, lanes) = (block.channel + column, S::LANES.min(block.columns - column));
            // SAFETY: rows and columns of the block, whose sums, outputs and residuals the caller grants; sums, totals,
            // scales and biases are there for whole vectors; the rows' scales are known.
            unsafe {
                let totals = self.totals.as_ptr().add(at);
                let scales = S::load(self.parameters.scales.as_ptr().add(at));
                let bias = S::load(self.parameters.biases.as_ptr().add(at));
                for row in 0..block.rows {
                    let RowScale { scale, zero_point } = *self.rows.add(first_row + row);
                    let sums = block.sums.add(row * block.sums_stride + column);
                    let difference = S::load_difference(sums, totals, zero_point);
                    let mut x = S::add(S::mul(S::mul(difference, scales), S::splat(scale)), bias);
                    if !block.residual.is_null() {
                        let from = block.residual.cast::<f32>().add(row * block.residual_stride + column);
                        let whole = lanes == S::LANES;
                        x = S::add(x, if whole { S::load(from) } else { S::load_partial(from, lanes) });
                    }
                    let to = block.out.cast::<f32>().add(row * block.out_stride + column);
                    if lanes == S::LANES {
                        S::store(to, x);
                    } else {
                        S::store_partial(to, x, lanes);
                    }
                }
            }
        }
    }
}

/// What a run of a product reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct DynamicArguments {
    /// First element of `A`.
    pub a: *const f32,
    /// As the output, or null; may be the output.
    pub residual: *const f32,
    /// First element of the output, C order.
    pub out: *mut f32,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for DynamicArguments {}

/// A planned product of float32 rows, each quantized by itself, with packed columns.
#[derive(Debug)]
pub struct DynamicPlan {
    core: Core,
    parameters: Arc<DynamicParameters>,
}

impl DynamicPlan {
    /// Plans a product of `A [..., K]` with columns packed for zero point 0.
    ///
    /// # Panics
    /// Where the depth of `A` is not that of the columns.
    pub fn new(
        threads: usize,
        a: (&[usize], &[isize]),
        columns: Arc<PackedColumns>,
        parameters: Arc<DynamicParameters>,
    ) -> DynamicPlan {
        let core = Core::new(threads, a.0, a.1, columns);
        assert_eq!(core.row_bytes() / 4, core.columns.words());
        DynamicPlan { core, parameters }
    }

    fn scales_bytes(&self) -> usize {
        (self.core.rows * size_of::<RowScale>()).next_multiple_of(64)
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.scales_bytes() + self.core.rows * self.core.row_bytes()
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        (self.core.rows * self.core.depth) as u64 * self.core.columns.columns() as u64
    }

    /// Runs the product.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &DynamicArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let scratch = Shared::new(scratch.as_mut_ptr());
        let core = &self.core;
        if core.split.splits_panels() {
            let parts = core.split.parts();
            pool.run(parts, |part| {
                let (arguments, scratch) = (&arguments, scratch.get());
                // SAFETY: every part quantizes rows of its own.
                unsafe { self.quantize(arguments.a, scratch, chunk(core.rows, parts, part, 1)) };
            });
        }
        core.split.run(pool, |_, rows, panels| {
            let (arguments, scratch) = (&arguments, scratch.get());
            let finish = DynamicFinish {
                parameters: &self.parameters,
                totals: core.columns.totals(),
                rows: scratch.cast::<RowScale>(),
            };
            // SAFETY: the parts' rows and outputs are their own; the rest is the caller's promise.
            unsafe {
                if !core.split.splits_panels() {
                    self.quantize(arguments.a, scratch, rows.clone());
                }
                let base = scratch.add(self.scales_bytes() + rows.start * core.row_bytes());
                let outputs = (arguments.out.cast::<u8>(), arguments.residual.cast::<u8>());
                core.multiply((base, core.row_bytes() as isize), &finish, outputs, rows, panels);
            }
        });
    }

    /// # Safety
    /// `a` is the first element of `A`; scratch is as asked for.
    unsafe fn quantize(&self, a: *const f32, scratch: *mut u8, rows: Range<usize>) {
        let core = &self.core;
        for row in rows {
            // SAFETY: a row of `A`, and its places in scratch.
            unsafe {
                let to = scratch.add(self.scales_bytes() + row * core.row_bytes());
                let from = a.offset(core.offset(row));
                let scale = quantize_row(self.parameters.isa, from, core.value_step, core.depth, to);
                to.add(core.depth).write_bytes(0, core.row_bytes() - core.depth);
                scratch.cast::<RowScale>().add(row).write(scale);
            }
        }
    }
}
