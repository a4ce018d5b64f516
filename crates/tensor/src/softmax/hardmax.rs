use super::{Blocks, Shared};
use crate::elementwise::{Layout, Number, with_number};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, is_dense};
use vedette_runtime::ThreadPool;

/// One at the first largest element along an axis, zero elsewhere, planned.
pub struct Hardmax {
    blocks: Blocks,
    dtype: DType,
    layout: (Dims, Strides),
}

impl Hardmax {
    /// Plans it for a dense tensor; the output lies like it.
    pub fn new(input: Layout<'_>, axis: usize) -> Result<Hardmax, TensorError> {
        if with_number!(input.dtype, _T => ()).is_none() || !is_dense(input.shape, input.strides) {
            return Err(TensorError(format!("no hardmax of {} elements, or not dense", input.dtype)));
        }
        Ok(Hardmax {
            blocks: Blocks::of(input.shape, input.strides, axis),
            dtype: input.dtype,
            layout: (input.shape.into(), input.strides.into()),
        })
    }

    /// Computes it.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, input: &View<'_>, output: &mut ViewMut<'_>, pool: &ThreadPool) {
        let as_planned = |dtype: DType, shape: &[usize], strides: &[isize]| {
            dtype == self.dtype && shape == &self.layout.0[..] && strides == &self.layout.1[..]
        };
        assert!(as_planned(input.dtype(), input.shape(), input.strides()));
        assert!(as_planned(output.dtype(), output.shape(), output.strides()));
        let (from, to) = (Shared(input.as_ptr().cast_mut()), Shared(output.as_mut_ptr()));
        let Blocks { outer, count, inner } = self.blocks;
        let grain = crate::elementwise::PARALLEL_GRAIN.div_ceil(count.max(1));
        pool.run_ranges(outer * inner, grain, 1, |lines| {
            for line in lines {
                let at = |i: usize| line / inner * count * inner + line % inner + i * inner;
                with_number!(self.dtype, T => {
                    let (from, to) = (from.get().cast::<T>(), to.get().cast::<T>());
                    let mut best = 0;
                    // SAFETY: the tensors are dense blocks, and at(i) is element i of a line that is this thread's.
                    unsafe {
                        for i in 1..count {
                            if from.add(at(i)).read() > from.add(at(best)).read() {
                                best = i;
                            }
                        }
                        for i in 0..count {
                            to.add(at(i)).write(if i == best { T::ONE } else { T::ZERO });
                        }
                    }
                });
            }
        });
    }
}
