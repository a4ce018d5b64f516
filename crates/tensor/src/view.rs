use crate::shape::{Dims, Strides, broadcast_shape, contiguous_strides, element_count};
use crate::{DType, Element, TensorError};
use smallvec::SmallVec;
use std::marker::PhantomData;

/// A borrowed strided tensor, read-only.
#[derive(Clone, Debug)]
pub struct View<'a> {
    dtype: DType,
    shape: Dims,
    strides: Strides,
    pointer: *const u8,
    borrow: PhantomData<&'a [u8]>,
}

/// A borrowed strided tensor for writing. Its elements do not overlap one another.
#[derive(Debug)]
pub struct ViewMut<'a> {
    dtype: DType,
    shape: Dims,
    strides: Strides,
    pointer: *mut u8,
    borrow: PhantomData<&'a mut [u8]>,
}

// SAFETY: a View is a shared borrow of plain elements.
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}
// SAFETY: a ViewMut is an exclusive borrow of plain elements.
unsafe impl Send for ViewMut<'_> {}
// SAFETY: through a shared ViewMut the elements can only be read, or written by code that is unsafe itself.
unsafe impl Sync for ViewMut<'_> {}

fn is_contiguous(shape: &[usize], strides: &[isize]) -> bool {
    let mut step = 1isize;
    for (&dim, &stride) in shape.iter().zip(strides).rev() {
        if dim == 0 {
            return true;
        }
        if dim != 1 && stride != step {
            return false;
        }
        step *= dim as isize;
    }
    true
}

/// Whether the elements fill a block without gaps, in whatever order of the axes.
pub fn is_dense(shape: &[usize], strides: &[isize]) -> bool {
    let mut axes: SmallVec<[(isize, usize); 6]> =
        strides.iter().copied().zip(shape.iter().copied()).filter(|&(_, dim)| dim != 1).collect();
    if axes.iter().any(|&(_, dim)| dim == 0) {
        return true;
    }
    axes.sort_unstable();
    let mut step = 1isize;
    axes.iter().all(|&(stride, dim)| {
        let fits = stride == step;
        step *= dim as isize;
        fits
    })
}

macro_rules! common {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// Element type.
            pub fn dtype(&self) -> DType {
                self.dtype
            }
            /// Logical shape.
            pub fn shape(&self) -> &[usize] {
                &self.shape
            }
            /// Strides in elements, one an axis.
            pub fn strides(&self) -> &[isize] {
                &self.strides
            }
            /// Number of axes.
            pub fn rank(&self) -> usize {
                self.shape.len()
            }
            /// Number of elements.
            pub fn len(&self) -> usize {
                self.shape.iter().product()
            }
            /// Whether there are no elements.
            pub fn is_empty(&self) -> bool {
                self.shape.contains(&0)
            }
            /// Whether the elements lie in C order without gaps.
            pub fn is_contiguous(&self) -> bool {
                is_contiguous(&self.shape, &self.strides)
            }
            /// Whether the elements fill a block without gaps, in whatever order of the axes.
            pub fn is_dense(&self) -> bool {
                is_dense(&self.shape, &self.strides)
            }
            /// Pointer to the element at index 0 of every axis.
            pub fn as_ptr(&self) -> *const u8 {
                self.pointer
            }
            /// Pointer to the element at index 0 of every axis.
            ///
            /// # Panics
            /// Where `T` is not the element type.
            pub fn as_ptr_of<T: Element>(&self) -> *const T {
                assert_eq!(self.dtype, T::DTYPE);
                self.pointer.cast()
            }
            /// The elements in memory order, if they are dense (see [`is_dense`](Self::is_dense)).
            ///
            /// # Panics
            /// Where `T` is not the element type.
            pub fn dense_slice<T: Element>(&self) -> Option<&[T]> {
                assert_eq!(self.dtype, T::DTYPE);
                if !self.is_dense() {
                    return None;
                }
                // SAFETY: dense means the len() elements from the pointer on are the view's own, initialised elements.
                Some(unsafe { std::slice::from_raw_parts(self.pointer.cast::<T>(), self.len()) })
            }
            /// The elements in C order, if they lie so.
            ///
            /// # Panics
            /// Where `T` is not the element type.
            pub fn slice<T: Element>(&self) -> Option<&[T]> {
                self.is_contiguous().then(|| self.dense_slice::<T>()).flatten()
            }
        }
    };
}

common!(View);
common!(ViewMut);

impl<'a> View<'a> {
    /// A view from parts.
    ///
    /// # Safety
    /// For the lifetime `'a` every element that shape and strides reach from `pointer` must be readable,
    /// initialised, aligned for the dtype and not written to.
    ///
    /// # Panics
    /// Where shape and strides differ in length.
    pub unsafe fn from_raw_parts(
        dtype: DType,
        shape: Dims,
        strides: Strides,
        pointer: *const u8,
    ) -> View<'a> {
        assert_eq!(shape.len(), strides.len());
        View { dtype, shape, strides, pointer, borrow: PhantomData }
    }

    /// A C-order view of a slice.
    ///
    /// # Panics
    /// Where the shape does not have as many elements as the slice.
    pub fn of<T: Element>(shape: &[usize], elements: &'a [T]) -> View<'a> {
        assert_eq!(element_count(shape), Some(elements.len()));
        // SAFETY: C-order strides over this shape reach exactly the elements of the slice.
        unsafe {
            View::from_raw_parts(T::DTYPE, shape.into(), contiguous_strides(shape), elements.as_ptr().cast())
        }
    }

    /// The same elements seen through another shape and strides, `offset` elements further on.
    ///
    /// # Safety
    /// Every element reached must be one this view's memory holds.
    pub unsafe fn reinterpret(&self, shape: Dims, strides: Strides, offset: isize) -> View<'a> {
        // SAFETY: the caller promises that the offset stays within the memory of this view.
        let pointer = unsafe { self.pointer.offset(offset * self.dtype.size() as isize) };
        // SAFETY: as promised by the caller.
        unsafe { View::from_raw_parts(self.dtype, shape, strides, pointer) }
    }

    /// This view broadcast to `shape` by stride 0.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<View<'a>, TensorError> {
        if broadcast_shape(&self.shape, shape)?.as_slice() != shape {
            return Err(TensorError(format!("shape {:?} does not broadcast to {shape:?}", &self.shape[..])));
        }
        let missing = shape.len() - self.shape.len();
        let strides = (0..shape.len())
            .map(|axis| match axis.checked_sub(missing) {
                Some(own) if self.shape[own] != 1 => self.strides[own],
                _ => 0,
            })
            .collect();
        Ok(View {
            dtype: self.dtype,
            shape: shape.into(),
            strides,
            pointer: self.pointer,
            borrow: PhantomData,
        })
    }

    /// The axes in another order.
    ///
    /// # Panics
    /// Where `axes` is not a permutation of the view's axes.
    pub fn permuted(&self, axes: &[usize]) -> View<'a> {
        let mut sorted: Dims = axes.into();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..self.rank()), "{axes:?} is not a permutation");
        View {
            dtype: self.dtype,
            shape: axes.iter().map(|&axis| self.shape[axis]).collect(),
            strides: axes.iter().map(|&axis| self.strides[axis]).collect(),
            pointer: self.pointer,
            borrow: PhantomData,
        }
    }

    /// The elements in C order, copied.
    ///
    /// # Panics
    /// Where `T` is not the element type.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        let base = self.as_ptr_of::<T>();
        let mut out = Vec::with_capacity(self.len());
        for_each_offset(&self.shape, &self.strides, |offset| {
            // SAFETY: the offset comes from an index within the shape, so the element is the view's own.
            out.push(unsafe { *base.offset(offset) });
        });
        out
    }
}

impl<'a> ViewMut<'a> {
    /// A view from parts.
    ///
    /// # Safety
    /// For the lifetime `'a` every element that shape and strides reach from `pointer` must be writable,
    /// initialised, aligned for the dtype, distinct from every other, and not otherwise accessed.
    ///
    /// # Panics
    /// Where shape and strides differ in length.
    pub unsafe fn from_raw_parts(
        dtype: DType,
        shape: Dims,
        strides: Strides,
        pointer: *mut u8,
    ) -> ViewMut<'a> {
        assert_eq!(shape.len(), strides.len());
        ViewMut { dtype, shape, strides, pointer, borrow: PhantomData }
    }

    /// A C-order view of a slice.
    ///
    /// # Panics
    /// Where the shape does not have as many elements as the slice.
    pub fn of<T: Element>(shape: &[usize], elements: &'a mut [T]) -> ViewMut<'a> {
        assert_eq!(element_count(shape), Some(elements.len()));
        // SAFETY: C-order strides over this shape reach exactly the elements of the slice, each once.
        unsafe {
            ViewMut::from_raw_parts(
                T::DTYPE,
                shape.into(),
                contiguous_strides(shape),
                elements.as_mut_ptr().cast(),
            )
        }
    }

    /// Pointer to the element at index 0 of every axis.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.pointer
    }

    /// Pointer to the element at index 0 of every axis.
    ///
    /// # Panics
    /// Where `T` is not the element type.
    pub fn as_mut_ptr_of<T: Element>(&mut self) -> *mut T {
        assert_eq!(self.dtype, T::DTYPE);
        self.pointer.cast()
    }

    /// The elements in memory order, if they are dense.
    ///
    /// # Panics
    /// Where `T` is not the element type.
    pub fn dense_slice_mut<T: Element>(&mut self) -> Option<&mut [T]> {
        assert_eq!(self.dtype, T::DTYPE);
        if !self.is_dense() {
            return None;
        }
        // SAFETY: dense means the len() elements from the pointer on are the view's own, borrowed exclusively.
        Some(unsafe { std::slice::from_raw_parts_mut(self.pointer.cast(), self.len()) })
    }

    /// The elements in C order, if they lie so.
    ///
    /// # Panics
    /// Where `T` is not the element type.
    pub fn slice_mut<T: Element>(&mut self) -> Option<&mut [T]> {
        if self.is_contiguous() { self.dense_slice_mut::<T>() } else { None }
    }

    /// The same elements, read-only, for as long as this borrow lasts.
    pub fn as_view(&self) -> View<'_> {
        View {
            dtype: self.dtype,
            shape: self.shape.clone(),
            strides: self.strides.clone(),
            pointer: self.pointer,
            borrow: PhantomData,
        }
    }

    /// The same elements, borrowed anew.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut {
            dtype: self.dtype,
            shape: self.shape.clone(),
            strides: self.strides.clone(),
            pointer: self.pointer,
            borrow: PhantomData,
        }
    }
}

/// Calls `f` with the offset, in elements, of every index in C order.
pub(crate) fn for_each_offset(shape: &[usize], strides: &[isize], mut f: impl FnMut(isize)) {
    if shape.contains(&0) {
        return;
    }
    let mut index = Dims::from_elem(0, shape.len());
    let mut offset = 0isize;
    loop {
        f(offset);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis] as isize;
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn permuted_views_read_the_same_elements() {
        let data: Vec<i32> = (0..24).collect();
        let view = View::of(&[2, 3, 4], &data);
        let turned = view.permuted(&[2, 0, 1]);
        assert_eq!(turned.shape(), [4, 2, 3]);
        assert!(!turned.is_contiguous() && turned.is_dense());
        assert_eq!(turned.to_vec::<i32>()[..6], [0, 4, 8, 12, 16, 20]);
        assert_eq!(Tensor::copy_of(&turned).unwrap().slice::<i32>(), turned.to_vec::<i32>());
    }

    #[test]
    fn broadcasting_repeats_without_copying() {
        let data = [1.0f32, 2.0];
        let view = View::of(&[2, 1], &data).broadcast_to(&[3, 2, 2]).unwrap();
        assert_eq!(view.to_vec::<f32>(), [1., 1., 2., 2.].repeat(3));
        assert!(!view.is_dense());
        assert!(view.broadcast_to(&[2]).is_err());
    }

    #[test]
    fn ones_and_zeros_in_a_shape_do_not_spoil_contiguity() {
        let data = [0u8; 6];
        let strides: Strides = [100, 3, 7, 1].as_slice().into();
        // SAFETY: axes of one element never use their stride, so only the 6 elements are reached.
        let view = unsafe {
            View::from_raw_parts(DType::U8, [1, 2, 1, 3].as_slice().into(), strides, data.as_ptr())
        };
        assert!(view.is_contiguous() && view.is_dense());
        assert!(View::of::<u8>(&[0, 5], &[]).is_contiguous());
    }
}
