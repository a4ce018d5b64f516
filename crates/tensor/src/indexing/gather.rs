use super::{IndexType, Lookup, select};
use crate::elementwise::{Layout, Nest, Tile};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, contiguous_strides};
use smallvec::SmallVec;
use vedette_runtime::ThreadPool;

/// A planned Gather, GatherElements or GatherND. The output is contiguous.
pub struct Gather {
    /// Over the output: output, data, indices.
    nest: Nest<3>,
    lookups: SmallVec<[Lookup; 4]>,
    index: IndexType,
    dtype: DType,
    shape: Dims,
    operands: [(Dims, Strides); 2],
}

impl Gather {
    /// Slices of the data along `axis`, one for each index: the axis becomes the axes of the indices.
    pub fn slices(data: Layout<'_>, axis: usize, indices: Layout<'_>) -> Result<Gather, TensorError> {
        let (before, after) = (&data.shape[..axis], &data.shape[axis + 1..]);
        let shape: Dims = before.iter().chain(indices.shape).chain(after).copied().collect();
        let none = |n: usize| std::iter::repeat_n(0isize, n);
        let data_strides: Strides = data.strides[..axis]
            .iter()
            .copied()
            .chain(none(indices.shape.len()))
            .chain(data.strides[axis + 1..].iter().copied())
            .collect();
        let index_strides: Strides =
            none(axis).chain(indices.strides.iter().copied()).chain(none(after.len())).collect();
        let lookups = [(0, axis)];
        Gather::new(data, indices, shape, [data_strides, index_strides], &lookups)
    }

    /// One element along `axis` for each index; the other axes are those of the data.
    pub fn elements(data: Layout<'_>, axis: usize, indices: Layout<'_>) -> Result<Gather, TensorError> {
        let fits = data.shape.len() == indices.shape.len()
            && (0..data.shape.len()).all(|i| i == axis || indices.shape[i] <= data.shape[i]);
        if !fits {
            let (data, indices) = (data.shape, indices.shape);
            return Err(TensorError(format!("indices {indices:?} reach beyond data {data:?}")));
        }
        let mut strides = Strides::from_slice(data.strides);
        strides[axis] = 0;
        Gather::new(data, indices, indices.shape.into(), [strides, indices.strides.into()], &[(0, axis)])
    }

    /// The slice that each tuple along the last axis of the indices names, after `batch_dims` axes in common.
    pub fn tuples(data: Layout<'_>, indices: Layout<'_>, batch_dims: usize) -> Result<Gather, TensorError> {
        let wrong = || {
            let (data, indices) = (data.shape, indices.shape);
            TensorError(format!("indices {indices:?} do not name slices of data {data:?}"))
        };
        let (&depth, places) = indices.shape.split_last().ok_or_else(wrong)?;
        let first =
            batch_dims.checked_add(depth).filter(|&first| first <= data.shape.len()).ok_or_else(wrong)?;
        if depth == 0 || places.len() < batch_dims || data.shape[..batch_dims] != places[..batch_dims] {
            return Err(wrong());
        }
        let shape: Dims = places.iter().chain(&data.shape[first..]).copied().collect();
        let data_strides: Strides = data.strides[..batch_dims]
            .iter()
            .copied()
            .chain(std::iter::repeat_n(0, places.len() - batch_dims))
            .chain(data.strides[first..].iter().copied())
            .collect();
        let index_strides: Strides = indices.strides[..places.len()]
            .iter()
            .copied()
            .chain(std::iter::repeat_n(0, data.shape.len() - first))
            .collect();
        let step = indices.strides[places.len()];
        let lookups: Vec<_> = (0..depth).map(|i| (step * i as isize, batch_dims + i)).collect();
        Gather::new(data, indices, shape, [data_strides, index_strides], &lookups)
    }

    fn new(
        data: Layout<'_>,
        indices: Layout<'_>,
        shape: Dims,
        [data_strides, index_strides]: [Strides; 2],
        lookups: &[(isize, usize)],
    ) -> Result<Gather, TensorError> {
        let Some(index) = IndexType::of(indices.dtype) else {
            return Err(TensorError(format!("indices must be int32 or int64, not {}", indices.dtype)));
        };
        if !shape.contains(&0) && lookups.iter().any(|&(_, axis)| data.shape[axis] == 0) {
            return Err(TensorError(format!("nothing to pick from data of shape {:?}", data.shape)));
        }
        let (size, index_size) = (data.dtype.size(), indices.dtype.size());
        let lookups = lookups.iter().map(|&(offset, axis)| Lookup {
            index_offset: offset * index_size as isize,
            dim: data.shape[axis],
            step: data.strides[axis] * size as isize,
        });
        let strides = contiguous_strides(&shape);
        Ok(Gather {
            nest: Nest::new(&shape, [&strides, &data_strides, &index_strides], [size, size, index_size]),
            lookups: lookups.collect(),
            index,
            dtype: data.dtype,
            shape,
            operands: [data, indices].map(|layout| (layout.shape.into(), layout.strides.into())),
        })
    }

    /// Shape of the output.
    pub fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    /// Picks the elements.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, data: &View<'_>, indices: &View<'_>, output: &mut ViewMut<'_>, pool: &ThreadPool) {
        for (view, planned) in [data, indices].into_iter().zip(&self.operands) {
            assert!(view.shape() == &planned.0[..] && view.strides() == &planned.1[..]);
        }
        assert!(data.dtype() == self.dtype && IndexType::of(indices.dtype()) == Some(self.index));
        assert!(output.dtype() == self.dtype && output.shape() == &self.shape[..] && output.is_contiguous());
        let pointers = [output.as_mut_ptr(), data.as_ptr().cast_mut(), indices.as_ptr().cast_mut()];
        self.nest.run(pool, pointers, &|tile| {
            // SAFETY: the tensors lie as planned, so the tiles are within them, and lookups stay within the data.
            unsafe {
                match self.dtype.size() {
                    1 => self.tile::<u8>(tile),
                    2 => self.tile::<u16>(tile),
                    4 => self.tile::<u32>(tile),
                    _ => self.tile::<u64>(tile),
                }
            }
        });
    }

    /// # Safety
    /// The tile's pointers must be those of output, data and indices.
    unsafe fn tile<T: Copy>(&self, tile: &Tile<3>) {
        let size = size_of::<T>() as isize;
        let [to_step, from_step, index_step] = tile.column_strides;
        for row in 0..tile.rows {
            let [to, from, index] = tile.at(row, 0);
            // SAFETY: as granted by the caller.
            unsafe {
                if index_step == 0 || tile.columns == 1 {
                    let from = from.offset(select(&self.lookups, self.index, index));
                    if from_step == size && to_step == size {
                        std::ptr::copy_nonoverlapping(from.cast::<T>(), to.cast::<T>(), tile.columns);
                        continue;
                    }
                    for i in 0..tile.columns as isize {
                        to.offset(i * to_step)
                            .cast::<T>()
                            .write(from.offset(i * from_step).cast::<T>().read());
                    }
                } else {
                    for i in 0..tile.columns as isize {
                        let offset = select(&self.lookups, self.index, index.offset(i * index_step));
                        let x = from.offset(i * from_step + offset).cast::<T>().read();
                        to.offset(i * to_step).cast::<T>().write(x);
                    }
                }
            }
        }
    }
}
