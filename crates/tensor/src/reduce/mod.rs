//! Reductions over any axes of tensors of any strides.

mod accumulate;
mod arg;
mod cumulative;

pub use arg::ArgReduce;
pub use cumulative::{Cumulative, CumulativeOp};

use crate::elementwise::{Layout, Nest, with_float, with_number};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut};
use accumulate::Loops;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};

/// What is made of the elements that are reduced to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceOp {
    /// Sum.
    Sum,
    /// Sum divided by the count.
    Mean,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Product.
    Prod,
    /// Sum of the absolute values.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Sum of squares.
    SumSquare,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of the exponentials.
    LogSumExp,
    /// Mean of the squared differences from a centre given for each output.
    Variance,
}

/// A reduction planned for a tensor that lies in memory in a known way.
pub struct Reduce {
    loops: Loops,
    op: ReduceOp,
    dtype: DType,
    isa: Isa,
    input: (Dims, Strides),
    output: (Dims, Strides),
}

impl Reduce {
    /// Plans the reduction over `axes`; `output` has the input's shape but for 1 in their place, and is dense.
    pub fn new(
        op: ReduceOp,
        input: Layout<'_>,
        axes: &[usize],
        output: Layout<'_>,
        isa: Isa,
    ) -> Result<Reduce, TensorError> {
        let fits = (0..input.shape.len()).all(|axis| {
            let expected = if axes.contains(&axis) { 1 } else { input.shape[axis] };
            output.shape.get(axis) == Some(&expected)
        });
        if !fits || output.shape.len() != input.shape.len() || output.dtype != input.dtype {
            let (from, to) = (input.shape, output.shape);
            return Err(TensorError(format!("cannot reduce {from:?} over axes {axes:?} to {to:?}")));
        }
        let supported = match op {
            ReduceOp::Min | ReduceOp::Max => with_number!(number_type(input.dtype), _T => ()).is_some(),
            ReduceOp::LogSumExp | ReduceOp::Variance => with_float!(input.dtype, _T => ()).is_some(),
            _ => with_number!(input.dtype, _T => ()).is_some(),
        };
        if !supported {
            return Err(TensorError(format!("no reduction {op:?} of {} elements", input.dtype)));
        }
        let size = input.dtype.size();
        let dims = |keep: bool| -> Dims {
            (0..input.shape.len())
                .map(|a| if axes.contains(&a) == keep { 1 } else { input.shape[a] })
                .collect()
        };
        let (kept, reduced) = (dims(true), dims(false));
        let loops = Loops {
            count: reduced.iter().product(),
            kept: Nest::new(&kept, [output.strides, input.strides, output.strides], [size; 3]),
            reduced: Nest::new(&reduced, [input.strides], [size]),
        };
        Ok(Reduce {
            loops,
            op,
            dtype: input.dtype,
            isa,
            input: (input.shape.into(), input.strides.into()),
            output: (output.shape.into(), output.strides.into()),
        })
    }

    /// Reduces the input. `centre`, which lies like the output, is what [`ReduceOp::Variance`] subtracts.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned, or a variance has no centre.
    pub fn run(
        &self,
        input: &View<'_>,
        centre: Option<&View<'_>>,
        output: &mut ViewMut<'_>,
        pool: &ThreadPool,
    ) {
        let lies = |dtype: DType, shape: &[usize], strides: &[isize], plan: &(Dims, Strides)| {
            dtype == self.dtype && shape == &plan.0[..] && strides == &plan.1[..]
        };
        assert!(lies(input.dtype(), input.shape(), input.strides(), &self.input));
        assert!(lies(output.dtype(), output.shape(), output.strides(), &self.output));
        let written = output.as_mut_ptr();
        let centre = match centre {
            Some(view) => {
                assert!(lies(view.dtype(), view.shape(), view.strides(), &self.output));
                view.as_ptr().cast_mut()
            }
            None => {
                assert!(self.op != ReduceOp::Variance, "a variance needs a centre");
                written
            }
        };
        let pointers = [written, input.as_ptr().cast_mut(), centre];
        // SAFETY: the pointers are those of tensors that lie as the loops were planned for.
        unsafe {
            if self.op == ReduceOp::LogSumExp {
                // The largest element goes to the output first and is the centre of the second pass.
                self.pass(ReduceOp::Max, pointers, pool);
            }
            self.pass(self.op, pointers, pool);
        }
    }

    /// # Safety
    /// The pointers must be those of tensors that lie as planned: output, input, centre.
    unsafe fn pass(&self, op: ReduceOp, pointers: [*mut u8; 3], pool: &ThreadPool) {
        let loops = &self.loops;
        loops.kept.run_costly(pool, pointers, loops.count, &|tile| {
            // SAFETY: as granted by the caller.
            unsafe {
                if self.dtype == DType::F32 {
                    dispatch!(self.isa, _S => accumulate::tile::<f32>(op, loops, tile));
                } else if self.dtype == DType::Bool {
                    accumulate::truth_tile(op == ReduceOp::Max, loops, tile);
                } else {
                    let known = with_number!(self.dtype, T => accumulate::tile::<T>(op, loops, tile));
                    debug_assert!(known.is_some());
                }
            }
        });
    }
}

/// Truth values are ordered like the integers 0 and 1.
fn number_type(dtype: DType) -> DType {
    if dtype == DType::Bool { DType::U8 } else { dtype }
}

#[cfg(test)]
mod tests;
