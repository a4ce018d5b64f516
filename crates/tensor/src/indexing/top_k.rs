use crate::elementwise::{Layout, Nest, Number, with_number};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut};
use std::cmp::Ordering;
use vedette_runtime::ThreadPool;

/// The largest or smallest elements along an axis in order, planned.
pub struct TopK {
    /// Over lines: values, indices, input.
    nest: Nest<3>,
    dtype: DType,
    count: usize,
    k: usize,
    steps: [isize; 3],
    largest: bool,
    layouts: [(Dims, Strides); 3],
}

impl TopK {
    /// Plans it; `values` and `indices` (int64) have the input's shape but for `k` along `axis`.
    pub fn new(
        input: Layout<'_>,
        axis: usize,
        values: Layout<'_>,
        indices: Layout<'_>,
        largest: bool,
    ) -> Result<TopK, TensorError> {
        let k = values.shape[axis];
        let mut shape = Dims::from_slice(input.shape);
        let count = std::mem::replace(&mut shape[axis], k);
        let types = values.dtype == input.dtype && indices.dtype == DType::I64;
        if k > count || shape[..] != *values.shape || shape[..] != *indices.shape || !types {
            return Err(TensorError(format!("no {k} elements along axis {axis} of {:?}", input.shape)));
        }
        if with_number!(input.dtype, _T => ()).is_none() {
            return Err(TensorError(format!("no order of {} elements", input.dtype)));
        }
        shape[axis] = 1;
        let sizes = [input.dtype.size(), 8, input.dtype.size()];
        let all = [values, indices, input];
        Ok(TopK {
            nest: Nest::new(&shape, all.map(|layout| layout.strides), sizes),
            dtype: input.dtype,
            count,
            k,
            steps: std::array::from_fn(|i| all[i].strides[axis] * sizes[i] as isize),
            largest,
            layouts: all.map(|layout| (layout.shape.into(), layout.strides.into())),
        })
    }

    /// Indices of scratch memory that [`run`](Self::run) needs.
    pub fn scratch_len(&self) -> usize {
        self.count
    }

    /// Writes values and indices; of equal elements the first comes first, and NaN counts as the largest.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned, or the scratch memory is too small.
    pub fn run(
        &self,
        input: &View<'_>,
        values: &mut ViewMut<'_>,
        indices: &mut ViewMut<'_>,
        scratch: &mut [u64],
    ) {
        assert!(input.dtype() == self.dtype && values.dtype() == self.dtype && indices.dtype() == DType::I64);
        let lies = |shape: &[usize], strides: &[isize], planned: &(Dims, Strides)| {
            shape == &planned.0[..] && strides == &planned.1[..]
        };
        assert!(lies(values.shape(), values.strides(), &self.layouts[0]));
        assert!(lies(indices.shape(), indices.strides(), &self.layouts[1]));
        assert!(lies(input.shape(), input.strides(), &self.layouts[2]));
        let order = &mut scratch[..self.count];
        let pointers = [values.as_mut_ptr(), indices.as_mut_ptr(), input.as_ptr().cast_mut()];
        self.nest.for_each_tile(pointers, |tile| {
            for row in 0..tile.rows {
                for column in 0..tile.columns {
                    // SAFETY: the tensors lie as planned, so a line's elements are their own.
                    with_number!(self.dtype, T => unsafe { self.line::<T>(tile.at(row, column), order) });
                }
            }
        });
    }

    /// # Safety
    /// The pointers must be those of a line of values, indices and input.
    unsafe fn line<T: Number>(&self, [values, indices, input]: [*mut u8; 3], order: &mut [u64]) {
        // SAFETY: i is below the number of elements of the line.
        let at = |i: u64| unsafe { input.offset(self.steps[2] * i as isize).cast::<T>().read() };
        for (i, place) in order.iter_mut().enumerate() {
            *place = i as u64;
        }
        let compare = |a: &u64, b: &u64| {
            let (x, y) = (at(*a), at(*b));
            let by_value = match (x.is_nan(), y.is_nan()) {
                (false, false) => x.partial_cmp(&y).unwrap_or(Ordering::Equal),
                (x, y) => x.cmp(&y),
            };
            let by_value = if self.largest { by_value.reverse() } else { by_value };
            by_value.then(a.cmp(b))
        };
        if self.k == 0 {
            return;
        }
        if self.k < order.len() {
            order.select_nth_unstable_by(self.k - 1, compare);
        }
        order[..self.k].sort_unstable_by(compare);
        for (i, &place) in order[..self.k].iter().enumerate() {
            // SAFETY: i < k, the length of the lines written.
            unsafe {
                values.offset(self.steps[0] * i as isize).cast::<T>().write(at(place));
                indices.offset(self.steps[1] * i as isize).cast::<i64>().write(place as i64);
            }
        }
    }
}

/// A planned OneHot: `depth` values for each index, one of them different.
pub struct OneHot {
    /// Over the indices: output, indices.
    nest: Nest<2>,
    index: DType,
    depth: usize,
    step: isize,
    layouts: [(Dims, Strides); 2],
}

impl OneHot {
    /// Plans it; the output has the indices' shape with an axis of size `depth` inserted at `axis`, and is dense.
    pub fn new(indices: Layout<'_>, axis: usize, output: Layout<'_>) -> Result<OneHot, TensorError> {
        let mut shape = Dims::from_slice(output.shape);
        let mut strides = Strides::from_slice(output.strides);
        let fits = axis < shape.len() && {
            shape.remove(axis);
            shape[..] == *indices.shape
        };
        if !fits || with_number!(indices.dtype, _T => ()).is_none() {
            let (indices, output) = (indices.shape, output.shape);
            return Err(TensorError(format!("no one-hot code of {indices:?} in {output:?}")));
        }
        let step = strides.remove(axis);
        let size = output.dtype.size();
        Ok(OneHot {
            nest: Nest::new(&shape, [&strides, indices.strides], [size, indices.dtype.size()]),
            index: indices.dtype,
            depth: output.shape[axis],
            step: step * size as isize,
            layouts: [output, indices].map(|layout| (layout.shape.into(), layout.strides.into())),
        })
    }

    /// Writes `off` everywhere and `on` where an index points; an index out of range points nowhere.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned, or a value is not one element of the output's type.
    pub fn run(&self, indices: &View<'_>, off: &View<'_>, on: &View<'_>, output: &mut ViewMut<'_>) {
        let [to, from] = &self.layouts;
        assert!(output.shape() == &to.0[..] && output.strides() == &to.1[..]);
        assert!(indices.shape() == &from.0[..] && indices.strides() == &from.1[..]);
        assert!(indices.dtype() == self.index && on.dtype() == output.dtype() && on.len() == 1);
        crate::movement::fill(output, off);
        let size = output.dtype().size();
        let (on, depth) = (on.as_ptr(), self.depth as f64);
        self.nest.for_each_tile([output.as_mut_ptr(), indices.as_ptr().cast_mut()], |tile| {
            for row in 0..tile.rows {
                for column in 0..tile.columns {
                    let [to, from] = tile.at(row, column);
                    // SAFETY: an element of the indices.
                    let index = with_number!(self.index, T => unsafe { from.cast::<T>().read() }.to_f64());
                    let index = index.unwrap_or(f64::NAN).trunc();
                    let index = if index < 0.0 { index + depth } else { index };
                    if (0.0..depth).contains(&index) {
                        // SAFETY: index < depth along the output's axis; the value has one element of this size.
                        unsafe {
                            std::ptr::copy_nonoverlapping(on, to.offset(self.step * index as isize), size)
                        }
                    }
                }
            }
        });
    }
}

/// Sets to zero what lies beyond the `k`-th diagonal of every matrix of a contiguous tensor: below it where `upper` is
/// kept, else above.
///
/// # Panics
/// Where the tensor is not contiguous or has no matrices.
pub fn keep_triangle(tensor: &mut ViewMut<'_>, k: i64, upper: bool, pool: &ThreadPool) {
    assert!(tensor.is_contiguous() && tensor.rank() >= 2);
    let [rows, columns] = [tensor.rank() - 2, tensor.rank() - 1].map(|axis| tensor.shape()[axis]);
    let size = tensor.dtype().size();
    if tensor.is_empty() {
        return;
    }
    let all = tensor.len() / columns;
    let pointer = crate::softmax::Shared(tensor.as_mut_ptr());
    pool.run_ranges(all, crate::elementwise::PARALLEL_GRAIN.div_ceil(columns), 1, |range| {
        for row in range {
            let diagonal = ((row % rows) as i64).saturating_add(k);
            let zeros = match upper {
                true => 0..diagonal.clamp(0, columns as i64) as usize,
                false => diagonal.saturating_add(1).clamp(0, columns as i64) as usize..columns,
            };
            // SAFETY: the columns are within this row, which is this thread's; zero bytes are a zero of every type.
            unsafe {
                let start = pointer.get().add((row * columns + zeros.start) * size);
                std::ptr::write_bytes(start, 0, zeros.len() * size);
            }
        }
    });
}
