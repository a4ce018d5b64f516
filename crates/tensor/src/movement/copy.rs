use crate::elementwise::{Nest, Tile};
use crate::{Dims, Strides, TensorError, View, ViewMut};
use vedette_runtime::ThreadPool;

/// A planned copy between two memory orders of one shape.
#[derive(Clone, Debug)]
pub struct Copy {
    nest: Nest<2>,
    size: usize,
    shape: Dims,
    to: Strides,
    from: Strides,
}

impl Copy {
    /// Plans a copy of elements of `size` bytes (1, 2, 4 or 8).
    pub fn new(shape: &[usize], from: &[isize], to: &[isize], size: usize) -> Copy {
        let nest = Nest::new(shape, [to, from], [size; 2]);
        Copy { nest, size, shape: shape.into(), to: to.into(), from: from.into() }
    }

    /// Copies the elements.
    ///
    /// # Panics
    /// Where a view does not lie as planned.
    pub fn run(&self, from: &View<'_>, to: &mut ViewMut<'_>, pool: &ThreadPool) {
        assert!(from.dtype() == to.dtype() && from.dtype().size() == self.size);
        assert!(from.shape() == &self.shape[..] && to.shape() == &self.shape[..]);
        assert!(from.strides() == &self.from[..] && to.strides() == &self.to[..]);
        // SAFETY: the views reach, from their first elements, what their shape and strides say.
        unsafe { self.run_raw(from.as_ptr(), to.as_mut_ptr(), pool) }
    }

    /// Copies the elements.
    ///
    /// # Safety
    /// From `from`, everything that the planned shape and strides reach must be readable, and from `to` writable and
    /// borrowed exclusively.
    pub(crate) unsafe fn run_raw(&self, from: *const u8, to: *mut u8, pool: &ThreadPool) {
        self.nest.run(pool, [to, from.cast_mut()], &|tile| {
            // SAFETY: the tiles are within what the caller grants, and cover it once.
            unsafe {
                match self.size {
                    1 => copy_tile::<u8>(tile),
                    2 => copy_tile::<u16>(tile),
                    4 => copy_tile::<u32>(tile),
                    _ => copy_tile::<u64>(tile),
                }
            }
        });
    }
}

/// Copies one view to another of the same shape and type.
pub fn copy(from: &View<'_>, to: &mut ViewMut<'_>, pool: &ThreadPool) -> Result<(), TensorError> {
    if from.dtype() != to.dtype() || from.shape() != to.shape() {
        return Err(TensorError(format!(
            "cannot copy {} {:?} to {} {:?}",
            from.dtype(),
            from.shape(),
            to.dtype(),
            to.shape()
        )));
    }
    Copy::new(from.shape(), from.strides(), to.strides(), from.dtype().size()).run(from, to, pool);
    Ok(())
}

/// # Safety
/// The tile's elements of operand 0 are writable, those of operand 1 readable.
unsafe fn copy_tile<T: std::marker::Copy>(tile: &Tile<2>) {
    let size = size_of::<T>() as isize;
    let &Tile { rows, columns, row_strides, column_strides, .. } = tile;
    if column_strides == [size; 2] || columns == 1 {
        let whole = columns as isize * size;
        if row_strides == [whole; 2] || rows == 1 {
            let [to, from] = tile.at(0, 0);
            // SAFETY: rows follow one another on both sides, so the tile is one block of each.
            unsafe { std::ptr::copy_nonoverlapping(from.cast::<T>(), to.cast::<T>(), rows * columns) }
            return;
        }
        for row in 0..rows {
            let [to, from] = tile.at(row, 0);
            // SAFETY: the columns of a row are contiguous on both sides.
            unsafe { copy_row(from.cast::<T>(), to.cast::<T>(), columns) }
        }
        return;
    }
    // Blocks of 16 rows and columns: whatever the strides, the cache lines touched in one are used up before they go.
    const BLOCK: usize = 16;
    for first_row in (0..rows).step_by(BLOCK) {
        for first_column in (0..columns).step_by(BLOCK) {
            let block = Tile {
                pointers: tile.at(first_row, first_column),
                rows: BLOCK.min(rows - first_row),
                columns: BLOCK.min(columns - first_column),
                ..*tile
            };
            for row in 0..block.rows {
                let [to, from] = block.at(row, 0);
                for column in 0..block.columns as isize {
                    // SAFETY: row and column are within the tile.
                    unsafe {
                        let value = from.offset(column * column_strides[1]).cast::<T>().read();
                        to.offset(column * column_strides[0]).cast::<T>().write(value);
                    }
                }
            }
        }
    }
}

/// # Safety
/// `n` elements are readable at `from` and writable at `to`.
#[inline(always)]
pub(super) unsafe fn copy_row<T: std::marker::Copy>(from: *const T, to: *mut T, n: usize) {
    // SAFETY: as granted by the caller.
    unsafe {
        if n <= 8 {
            // Not worth a call.
            for i in 0..n {
                to.add(i).write(from.add(i).read());
            }
        } else {
            std::ptr::copy_nonoverlapping(from, to, n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tensor, channels_last_strides};

    fn check<T: crate::Element>(view: &View<'_>) {
        let mut contiguous = Tensor::zeros(T::DTYPE, view.shape()).unwrap();
        copy(view, &mut contiguous.view_mut(), &ThreadPool::new(2)).unwrap();
        assert_eq!(contiguous.slice::<T>(), view.to_vec::<T>());
        let strides = channels_last_strides(view.shape());
        let mut other = Tensor::zeros(T::DTYPE, view.shape()).unwrap();
        // SAFETY: the strides are dense, so they reach exactly the tensor's elements.
        let mut turned = unsafe {
            ViewMut::from_raw_parts(T::DTYPE, view.shape().into(), strides, other.view_mut().as_mut_ptr())
        };
        copy(view, &mut turned, &ThreadPool::new(1)).unwrap();
        assert_eq!(turned.as_view().to_vec::<T>(), view.to_vec::<T>());
    }

    #[test]
    fn every_order_is_copied_to_every_other() {
        let data: Vec<u32> = (0..2 * 33 * 18 * 5).collect();
        let plain = View::of(&[2, 33, 18, 5], &data);
        for axes in [[0, 1, 2, 3], [0, 2, 3, 1], [3, 2, 1, 0], [0, 3, 1, 2], [1, 0, 3, 2]] {
            check::<u32>(&plain.permuted(&axes));
        }
        check::<u32>(&View::of(&[5, 1], &data[..5]).broadcast_to(&[3, 5, 4]).unwrap());
        check::<u32>(&View::of::<u32>(&[3, 0, 2], &[]));
        let bytes: Vec<u8> = (0..210).map(|i| i as u8).collect();
        check::<u8>(&View::of(&[2, 3, 5, 7], &bytes).permuted(&[2, 0, 3, 1]));
        let wide: Vec<i64> = (0..210).collect();
        check::<i64>(&View::of(&[7, 5, 3, 2], &wide).permuted(&[3, 1, 0, 2]));
        assert_eq!(DType::U16.size(), 2);
        let short: Vec<u16> = (0..64).collect();
        check::<u16>(&View::of(&[8, 8], &short).permuted(&[1, 0]));
    }
}
