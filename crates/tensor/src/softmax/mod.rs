//! Softmax, its logarithm, hardmax, and the likeliest class along one axis.

mod best;
mod hardmax;
mod kernels;

pub use best::BestClass;
pub use hardmax::Hardmax;

use crate::elementwise::Layout;
use crate::movement::Copy;
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, is_dense};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};

/// A dense tensor seen from one of its axes: `outer` blocks of `count` rows of `inner` contiguous elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub outer: usize,
    pub count: usize,
    pub inner: usize,
}

impl Blocks {
    /// The blocks of a dense tensor along `axis`, whatever the order of its axes in memory.
    pub fn of(shape: &[usize], strides: &[isize], axis: usize) -> Blocks {
        let total: usize = shape.iter().product();
        let count = shape[axis];
        if total == 0 {
            return Blocks { outer: 0, count, inner: 1 };
        }
        let inner = if count == 1 { 1 } else { strides[axis].unsigned_abs() };
        Blocks { outer: total / (count * inner), count, inner }
    }
}

/// Softmax or its logarithm along an axis, planned.
pub struct Softmax {
    blocks: Blocks,
    logarithm: bool,
    dtype: DType,
    isa: Isa,
    /// Brings the input into the output's order first, where they differ.
    reorder: Option<Copy>,
    input: Strides,
    output: (Dims, Strides),
}

impl Softmax {
    /// Plans it; the output is dense and has the input's shape.
    pub fn new(
        input: Layout<'_>,
        axis: usize,
        output: Layout<'_>,
        logarithm: bool,
        isa: Isa,
    ) -> Result<Softmax, TensorError> {
        if !matches!(input.dtype, DType::F32 | DType::F64) || input.dtype != output.dtype {
            return Err(TensorError(format!("no softmax of {} elements", input.dtype)));
        }
        if input.shape != output.shape || !is_dense(output.shape, output.strides) {
            return Err(TensorError("the output of softmax must be dense and of the input's shape".into()));
        }
        let same = input.strides == output.strides;
        let reorder =
            (!same).then(|| Copy::new(input.shape, input.strides, output.strides, input.dtype.size()));
        Ok(Softmax {
            blocks: Blocks::of(output.shape, output.strides, axis),
            logarithm,
            dtype: input.dtype,
            isa,
            reorder,
            input: input.strides.into(),
            output: (output.shape.into(), output.strides.into()),
        })
    }

    /// Computes it. Input and output may be the same memory where they lie alike.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, input: &View<'_>, output: &mut ViewMut<'_>, pool: &ThreadPool) {
        assert!(input.dtype() == self.dtype && output.dtype() == self.dtype);
        assert!(input.shape() == &self.output.0[..] && input.strides() == &self.input[..]);
        assert!(output.shape() == &self.output.0[..] && output.strides() == &self.output.1[..]);
        let from = match &self.reorder {
            None => input.as_ptr(),
            Some(copy) => {
                copy.run(input, output, pool);
                output.as_ptr()
            }
        };
        let (from, to) = (Shared(from.cast_mut()), Shared(output.as_mut_ptr()));
        let Blocks { outer, count, inner } = self.blocks;
        let cost = 8 * count * inner;
        let grain = crate::elementwise::PARALLEL_GRAIN.div_ceil(cost.max(1));
        pool.run_ranges(outer, grain, 1, |range| {
            let start = range.start * count * inner;
            // SAFETY: both tensors are dense with outer blocks of count * inner elements, and each range is this
            // thread's alone.
            unsafe {
                if self.dtype == DType::F32 {
                    let (from, to) = (from.get().cast::<f32>().add(start), to.get().cast::<f32>().add(start));
                    dispatch!(self.isa, S => {
                        kernels::blocks::<S>(from, to, range.len(), count, inner, self.logarithm)
                    });
                } else {
                    let (from, to) = (from.get().cast::<f64>().add(start), to.get().cast::<f64>().add(start));
                    kernels::blocks_f64(from, to, range.len(), count, inner, self.logarithm);
                }
            }
        });
    }
}

/// A pointer that threads use at places of their own.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub *mut u8);

// SAFETY: the pointer is only a value here; who dereferences it answers for it.
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer; a method so that closures capture the whole, which is Sync.
    pub fn get(self) -> *mut u8 {
        self.0
    }
}

#[cfg(test)]
mod tests;
