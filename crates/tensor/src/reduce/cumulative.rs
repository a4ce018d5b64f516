use crate::elementwise::{Layout, Nest, Number, with_number};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut};
use vedette_runtime::ThreadPool;

/// What runs along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CumulativeOp {
    /// The sum so far.
    Sum,
    /// The product so far.
    Product,
}

/// Running sums or products along an axis, planned.
pub struct Cumulative {
    nest: Nest<2>,
    dtype: DType,
    count: usize,
    /// Bytes from one element along the axis to the next in output and input.
    steps: [isize; 2],
    op: CumulativeOp,
    exclusive: bool,
    reverse: bool,
    layouts: [(Dims, Strides); 2],
}

impl Cumulative {
    /// Plans it along `axis`. With `exclusive` an element does not count itself; `reverse` starts from the end.
    pub fn new(
        op: CumulativeOp,
        input: Layout<'_>,
        axis: usize,
        output: Layout<'_>,
        exclusive: bool,
        reverse: bool,
    ) -> Result<Cumulative, TensorError> {
        if with_number!(input.dtype, _T => ()).is_none() || input.dtype != output.dtype {
            return Err(TensorError(format!("no running sum of {} elements", input.dtype)));
        }
        if input.shape != output.shape {
            return Err(TensorError("a running sum keeps the shape".into()));
        }
        let size = input.dtype.size();
        let mut shape = Dims::from_slice(input.shape);
        let count = std::mem::replace(&mut shape[axis], 1);
        if count == 0 {
            shape[axis] = 0;
        }
        Ok(Cumulative {
            nest: Nest::new(&shape, [output.strides, input.strides], [size; 2]),
            dtype: input.dtype,
            count,
            steps: [output.strides[axis], input.strides[axis]].map(|stride| stride * size as isize),
            op,
            exclusive,
            reverse,
            layouts: [output, input].map(|layout| (layout.shape.into(), layout.strides.into())),
        })
    }

    /// Writes the running results.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, input: &View<'_>, output: &mut ViewMut<'_>, pool: &ThreadPool) {
        let [to, from] = &self.layouts;
        assert!(input.dtype() == self.dtype && output.dtype() == self.dtype);
        assert!(output.shape() == &to.0[..] && output.strides() == &to.1[..]);
        assert!(input.shape() == &from.0[..] && input.strides() == &from.1[..]);
        let pointers = [output.as_mut_ptr(), input.as_ptr().cast_mut()];
        self.nest.run_costly(pool, pointers, self.count, &|tile| {
            for row in 0..tile.rows {
                for column in 0..tile.columns {
                    // SAFETY: the tensors lie as planned, so count elements a step apart are their own.
                    with_number!(self.dtype, T => unsafe { self.line::<T>(tile.at(row, column)) });
                }
            }
        });
    }

    /// # Safety
    /// From the pointers, `count` elements a step apart must be writable and readable.
    unsafe fn line<T: Number>(&self, [to, from]: [*mut u8; 2]) {
        let mut total = if self.op == CumulativeOp::Sum { T::ZERO } else { T::ONE };
        for i in 0..self.count {
            let i = if self.reverse { self.count - 1 - i } else { i } as isize;
            // SAFETY: i < count.
            unsafe {
                let x = from.offset(self.steps[1] * i).cast::<T>().read();
                let next = if self.op == CumulativeOp::Sum { total.add(x) } else { total.mul(x) };
                to.offset(self.steps[0] * i).cast::<T>().write(if self.exclusive { total } else { next });
                total = next;
            }
        }
    }
}
