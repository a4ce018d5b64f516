use super::{IndexType, Lookup, select};
use crate::elementwise::{Layout, Nest, Number, Tile, with_number};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut};
use smallvec::SmallVec;

/// What becomes of an element that an update meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ScatterReduction {
    Replace,
    Add,
    Mul,
    Min,
    Max,
}

/// A planned ScatterElements or ScatterND: updates written into a tensor that holds the data already.
pub struct Scatter {
    /// Over the updates: updates, output, indices.
    nest: Nest<3>,
    lookups: SmallVec<[Lookup; 4]>,
    index: IndexType,
    dtype: DType,
    reduction: ScatterReduction,
    operands: [(Dims, Strides); 3],
}

impl Scatter {
    /// One element along `axis` for each index; the other axes are those of the output.
    pub fn elements(
        output: Layout<'_>,
        axis: usize,
        indices: Layout<'_>,
        updates: Layout<'_>,
        reduction: ScatterReduction,
    ) -> Result<Scatter, TensorError> {
        let fits = output.shape.len() == indices.shape.len()
            && indices.shape == updates.shape
            && (0..output.shape.len()).all(|i| i == axis || indices.shape[i] <= output.shape[i]);
        if !fits {
            let (output, indices, updates) = (output.shape, indices.shape, updates.shape);
            return Err(TensorError(format!(
                "updates {updates:?} at indices {indices:?} do not fit data {output:?}"
            )));
        }
        let mut strides = Strides::from_slice(output.strides);
        strides[axis] = 0;
        Scatter::new(output, indices, updates, [strides, indices.strides.into()], &[(0, axis)], reduction)
    }

    /// A slice for each tuple along the last axis of the indices.
    pub fn tuples(
        output: Layout<'_>,
        indices: Layout<'_>,
        updates: Layout<'_>,
        reduction: ScatterReduction,
    ) -> Result<Scatter, TensorError> {
        let wrong = || {
            let (output, indices, updates) = (output.shape, indices.shape, updates.shape);
            TensorError(format!("updates {updates:?} at indices {indices:?} do not fit data {output:?}"))
        };
        let (&depth, places) = indices.shape.split_last().ok_or_else(wrong)?;
        let inner = output.shape.get(depth..).ok_or_else(wrong)?;
        if depth == 0 || places.iter().chain(inner).ne(updates.shape) {
            return Err(wrong());
        }
        let output_strides: Strides =
            std::iter::repeat_n(0, places.len()).chain(output.strides[depth..].iter().copied()).collect();
        let index_strides: Strides = indices.strides[..places.len()]
            .iter()
            .copied()
            .chain(std::iter::repeat_n(0, inner.len()))
            .collect();
        let step = indices.strides[places.len()];
        let lookups: Vec<_> = (0..depth).map(|i| (step * i as isize, i)).collect();
        Scatter::new(output, indices, updates, [output_strides, index_strides], &lookups, reduction)
    }

    fn new(
        output: Layout<'_>,
        indices: Layout<'_>,
        updates: Layout<'_>,
        [output_strides, index_strides]: [Strides; 2],
        lookups: &[(isize, usize)],
        reduction: ScatterReduction,
    ) -> Result<Scatter, TensorError> {
        let Some(index) = IndexType::of(indices.dtype) else {
            return Err(TensorError(format!("indices must be int32 or int64, not {}", indices.dtype)));
        };
        let can_reduce = with_number!(updates.dtype, _T => ()).is_some();
        if output.dtype != updates.dtype || (reduction != ScatterReduction::Replace && !can_reduce) {
            return Err(TensorError(format!(
                "no scatter {reduction:?} of {} updates into {} data",
                updates.dtype, output.dtype
            )));
        }
        if !updates.shape.contains(&0) && lookups.iter().any(|&(_, axis)| output.shape[axis] == 0) {
            return Err(TensorError(format!("no place for updates in data of shape {:?}", output.shape)));
        }
        let (size, index_size) = (output.dtype.size(), indices.dtype.size());
        let lookups = lookups.iter().map(|&(offset, axis)| Lookup {
            index_offset: offset * index_size as isize,
            dim: output.shape[axis],
            step: output.strides[axis] * size as isize,
        });
        Ok(Scatter {
            nest: Nest::new(
                updates.shape,
                [updates.strides, &output_strides, &index_strides],
                [size, size, index_size],
            ),
            lookups: lookups.collect(),
            index,
            dtype: output.dtype,
            reduction,
            operands: [output, indices, updates].map(|layout| (layout.shape.into(), layout.strides.into())),
        })
    }

    /// Writes the updates, one after the other on this thread, as several may meet in one element.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, indices: &View<'_>, updates: &View<'_>, output: &mut ViewMut<'_>) {
        assert!(output.dtype() == self.dtype && updates.dtype() == self.dtype);
        assert!(IndexType::of(indices.dtype()) == Some(self.index));
        let [out, index, update] = &self.operands;
        assert!(output.shape() == &out.0[..] && output.strides() == &out.1[..]);
        assert!(indices.shape() == &index.0[..] && indices.strides() == &index.1[..]);
        assert!(updates.shape() == &update.0[..] && updates.strides() == &update.1[..]);
        let pointers = [updates.as_ptr().cast_mut(), output.as_mut_ptr(), indices.as_ptr().cast_mut()];
        self.nest.for_each_tile(pointers, |tile| {
            // SAFETY: the tensors lie as planned, so the tiles are within them, and lookups stay within the output.
            unsafe {
                if self.reduction == ScatterReduction::Replace {
                    match self.dtype.size() {
                        1 => self.tile(tile, |_, x: u8| x),
                        2 => self.tile(tile, |_, x: u16| x),
                        4 => self.tile(tile, |_, x: u32| x),
                        _ => self.tile(tile, |_, x: u64| x),
                    }
                } else {
                    with_number!(self.dtype, T => self.tile(tile, join::<T>(self.reduction)));
                }
            }
        });
    }

    /// # Safety
    /// The tile's pointers must be those of updates, output and indices.
    unsafe fn tile<T: Copy>(&self, tile: &Tile<3>, join: impl Fn(T, T) -> T) {
        for row in 0..tile.rows {
            for column in 0..tile.columns {
                let [update, output, index] = tile.at(row, column);
                // SAFETY: as granted by the caller.
                unsafe {
                    let place = output.offset(select(&self.lookups, self.index, index)).cast::<T>();
                    place.write(join(place.read(), update.cast::<T>().read()));
                }
            }
        }
    }
}

fn join<T: Number>(reduction: ScatterReduction) -> fn(T, T) -> T {
    match reduction {
        ScatterReduction::Replace => |_, x| x,
        ScatterReduction::Add => T::add,
        ScatterReduction::Mul => T::mul,
        ScatterReduction::Min => T::min,
        ScatterReduction::Max => T::max,
    }
}
