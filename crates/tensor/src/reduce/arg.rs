use crate::elementwise::{Layout, Nest, Number, with_number};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut};
use vedette_runtime::ThreadPool;

/// The index along an axis of the largest or smallest element, planned.
pub struct ArgReduce {
    nest: Nest<2>,
    dtype: DType,
    count: usize,
    step: isize,
    largest: bool,
    last: bool,
    input: (Dims, Strides),
    output: (Dims, Strides),
}

impl ArgReduce {
    /// Plans the search along `axis`; `output` is int64, dense, and has the input's shape but for 1 there.
    ///
    /// Of equal elements the first is taken, or the `last`; NaN counts as beyond everything.
    pub fn new(
        input: Layout<'_>,
        axis: usize,
        output: Layout<'_>,
        largest: bool,
        last: bool,
    ) -> Result<ArgReduce, TensorError> {
        let mut shape = Dims::from_slice(input.shape);
        let count = std::mem::replace(&mut shape[axis], 1);
        if count == 0 || shape[..] != *output.shape || output.dtype != DType::I64 {
            return Err(TensorError(format!("no element of shape {:?} along axis {axis}", input.shape)));
        }
        if with_number!(input.dtype, _T => ()).is_none() {
            return Err(TensorError(format!("no order of {} elements", input.dtype)));
        }
        let size = input.dtype.size();
        Ok(ArgReduce {
            nest: Nest::new(&shape, [output.strides, input.strides], [8, size]),
            dtype: input.dtype,
            count,
            step: input.strides[axis] * size as isize,
            largest,
            last,
            input: (input.shape.into(), input.strides.into()),
            output: (shape, output.strides.into()),
        })
    }

    /// Writes the indices.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, input: &View<'_>, output: &mut ViewMut<'_>, pool: &ThreadPool) {
        assert!(input.dtype() == self.dtype && output.dtype() == DType::I64);
        assert!(input.shape() == &self.input.0[..] && input.strides() == &self.input.1[..]);
        assert!(output.shape() == &self.output.0[..] && output.strides() == &self.output.1[..]);
        let pointers = [output.as_mut_ptr(), input.as_ptr().cast_mut()];
        self.nest.run_costly(pool, pointers, self.count, &|tile| {
            for row in 0..tile.rows {
                for column in 0..tile.columns {
                    let [to, from] = tile.at(row, column);
                    let found = with_number!(self.dtype, T => {
                        // SAFETY: the tensors lie as planned, so count elements a step apart are the input's own.
                        let at = |i: usize| unsafe { from.offset(self.step * i as isize).cast::<T>().read() };
                        search(self.count, at, self.largest, self.last)
                    });
                    // SAFETY: an element of the output.
                    unsafe { to.cast::<i64>().write(found.unwrap_or_default() as i64) }
                }
            }
        });
    }
}

/// The index of the extreme among `count` elements.
#[inline(always)]
fn search<T: Number>(count: usize, at: impl Fn(usize) -> T, largest: bool, last: bool) -> usize {
    let (mut best, mut index) = (at(0), 0);
    for i in 1..count {
        let x = at(i);
        let beyond = if largest { x > best } else { x < best };
        let better = beyond || (x.is_nan() && !best.is_nan());
        if better || (last && (x == best || (x.is_nan() && best.is_nan()))) {
            (best, index) = (x, i);
        }
    }
    index
}
