use crate::elementwise::{Layout, PARALLEL_GRAIN};
use crate::softmax::Shared;
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, is_dense};
use vedette_runtime::ThreadPool;

/// A copy that takes every index along every axis from a table: nearest-neighbour scaling, padding by repetition.
#[derive(Clone, Debug)]
pub struct GridGather {
    /// Byte offsets into the input for every index of the axes that are looped over, slowest first.
    tables: Vec<Vec<isize>>,
    /// Bytes that follow one another in both tensors at each step of the last table.
    block: usize,
    dtype: DType,
    from: (Dims, Strides),
    to: (Dims, Strides),
}

impl GridGather {
    /// Plans it: `indices[axis][i]` is the input's index for the output's `i`. The output is dense.
    pub fn new(from: Layout<'_>, indices: &[Vec<usize>], to: Layout<'_>) -> Result<GridGather, TensorError> {
        let rank = from.shape.len();
        let fits = indices.len() == rank
            && to.shape.len() == rank
            && (0..rank).all(|axis| {
                indices[axis].len() == to.shape[axis] && indices[axis].iter().all(|&i| i < from.shape[axis])
            });
        if !fits || from.dtype != to.dtype || !is_dense(to.shape, to.strides) {
            let (from, to) = (from.shape, to.shape);
            return Err(TensorError(format!("no indices of {from:?} for every element of {to:?}")));
        }
        let size = from.dtype.size();
        let mut order: Vec<usize> = (0..rank).filter(|&axis| to.shape[axis] != 1).collect();
        order.sort_by_key(|&axis| std::cmp::Reverse(to.strides[axis]));
        let mut block = size;
        while let Some(&axis) = order.last()
            && (from.strides[axis] * size as isize == block as isize)
            && indices[axis].iter().copied().eq(0..to.shape[axis])
        {
            block *= to.shape[axis];
            order.pop();
        }
        let offset = |axis: usize, i: usize| i as isize * from.strides[axis] * size as isize;
        // Axes with one output index only shift the beginning.
        let start: isize = (0..rank)
            .filter(|&axis| to.shape[axis] == 1)
            .map(|axis| indices[axis].first().map_or(0, |&i| offset(axis, i)))
            .sum();
        let mut tables: Vec<Vec<isize>> =
            order.iter().map(|&axis| indices[axis].iter().map(|&i| offset(axis, i)).collect()).collect();
        match tables.first_mut() {
            Some(table) => table.iter_mut().for_each(|offset| *offset += start),
            None => tables.push(vec![start]),
        }
        Ok(GridGather {
            tables,
            block,
            dtype: from.dtype,
            from: (from.shape.into(), from.strides.into()),
            to: (to.shape.into(), to.strides.into()),
        })
    }

    /// Copies.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, from: &View<'_>, to: &mut ViewMut<'_>, pool: &ThreadPool) {
        assert!(from.dtype() == self.dtype && to.dtype() == self.dtype);
        assert!(from.shape() == &self.from.0[..] && from.strides() == &self.from.1[..]);
        assert!(to.shape() == &self.to.0[..] && to.strides() == &self.to.1[..]);
        if to.is_empty() {
            return;
        }
        let (Some(inner), outer) = (self.tables.last(), &self.tables[..self.tables.len() - 1]) else {
            return;
        };
        let rows: usize = outer.iter().map(Vec::len).product();
        let row_bytes = inner.len() * self.block;
        let (from, to) = (Shared(from.as_ptr().cast_mut()), Shared(to.as_mut_ptr()));
        pool.run_ranges(rows, (4 * PARALLEL_GRAIN).div_ceil(row_bytes), 1, |range| {
            for row in range {
                let mut rest = row;
                let mut source = from.get().cast_const();
                for table in outer.iter().rev() {
                    source = source.wrapping_offset(table[rest % table.len()]);
                    rest /= table.len();
                }
                let target = to.get().wrapping_add(row * row_bytes);
                // SAFETY: the tables hold indices of the input, the blocks lie within it, and the output is dense with
                // a row of blocks for each row, which is this thread's alone.
                unsafe {
                    match self.block {
                        1 => gather::<u8>(source, inner, target),
                        2 => gather::<u16>(source, inner, target),
                        4 => gather::<u32>(source, inner, target),
                        8 => gather::<u64>(source, inner, target),
                        block => {
                            for (i, &offset) in inner.iter().enumerate() {
                                let (from, to) = (source.offset(offset), target.add(i * block));
                                std::ptr::copy_nonoverlapping(from, to, block);
                            }
                        }
                    }
                }
            }
        });
    }
}

/// # Safety
/// Every offset from `source` is a readable `T`, and `target` is writable for as many; alignment does not matter.
unsafe fn gather<T: std::marker::Copy>(source: *const u8, offsets: &[isize], target: *mut u8) {
    for (i, &offset) in offsets.iter().enumerate() {
        // SAFETY: as granted by the caller.
        unsafe {
            target.cast::<T>().add(i).write_unaligned(source.offset(offset).cast::<T>().read_unaligned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tensor, channels_last_strides, contiguous_strides};

    #[test]
    fn every_order_takes_the_same_elements() {
        let data: Vec<i16> = (0..2 * 3 * 4 * 5).collect();
        let plain = View::of(&[2, 3, 4, 5], &data);
        let last = View::of(&[2, 4, 5, 3], &data).permuted(&[0, 3, 1, 2]);
        let indices = [vec![1, 0, 1], vec![0, 1, 2], vec![3, 3, 0, 1, 2, 1, 1], vec![4]];
        let shape = [3, 3, 7, 1];
        for view in [&plain, &last] {
            let values = view.to_vec::<i16>();
            let mut expected = Vec::new();
            for &n in &indices[0] {
                for &c in &indices[1] {
                    for &h in &indices[2] {
                        expected.push(values[((n * 3 + c) * 4 + h) * 5 + 4]);
                    }
                }
            }
            for strides in [contiguous_strides(&shape), channels_last_strides(&shape)] {
                let from = Layout { dtype: DType::I16, shape: view.shape(), strides: view.strides() };
                let to = Layout { dtype: DType::I16, shape: &shape, strides: &strides };
                let plan = GridGather::new(from, &indices, to).unwrap();
                let mut tensor = Tensor::zeros(DType::I16, &shape).unwrap();
                // SAFETY: the strides are dense, so they reach exactly the tensor's elements.
                let mut output = unsafe {
                    ViewMut::from_raw_parts(
                        DType::I16,
                        shape.as_slice().into(),
                        strides.clone(),
                        tensor.as_mut_ptr(),
                    )
                };
                plan.run(view, &mut output, &ThreadPool::new(2));
                assert_eq!(output.as_view().to_vec::<i16>(), expected);
            }
        }
        let from = Layout { dtype: DType::I16, shape: &[2], strides: &[1] };
        assert!(GridGather::new(from, &[vec![2]], Layout { shape: &[1], ..from }).is_err());
    }
}
