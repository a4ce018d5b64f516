use crate::shape::{Dims, contiguous_strides, element_count};
use crate::view::{View, ViewMut, for_each_offset};
use crate::{DType, Element, TensorError};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use vedette_memory::AlignedBuffer;

/// A C-order tensor: constants, and values known while planning.
#[derive(Debug)]
pub struct Tensor {
    dtype: DType,
    shape: Dims,
    memory: Memory,
}

/// The memory of a tensor: its own, or memory that an owner keeps and nobody writes, such as a mapped file.
enum Memory {
    Owned(AlignedBuffer),
    Kept {
        pointer: *const u8,
        #[expect(dead_code, reason = "held for its memory")]
        owner: Arc<dyn Any + Send + Sync>,
    },
}

// SAFETY: memory that an owner keeps is only read, from whichever thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn as_ptr(&self) -> *const u8 {
        match self {
            Memory::Owned(buffer) => buffer.as_ptr(),
            Memory::Kept { pointer, .. } => *pointer,
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Memory::Owned(buffer) => f.debug_tuple("Owned").field(&buffer.len()).finish(),
            Memory::Kept { pointer, .. } => f.debug_tuple("Kept").field(pointer).finish(),
        }
    }
}

impl Tensor {
    /// A tensor of zeros, or an error where its size overflows or the system has no memory for it.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        element_count(shape)
            .and_then(|count| count.checked_mul(dtype.size()))
            .and_then(AlignedBuffer::try_new)
            .map(|buffer| Tensor { dtype, shape: shape.into(), memory: Memory::Owned(buffer) })
            .ok_or_else(|| TensorError(format!("no memory for a {dtype} tensor of shape {shape:?}")))
    }

    /// A tensor with these elements in C order.
    ///
    /// # Panics
    /// Where the shape does not have as many elements as the slice.
    pub fn from_slice<T: Element>(shape: &[usize], elements: &[T]) -> Tensor {
        assert_eq!(element_count(shape), Some(elements.len()));
        let mut buffer = AlignedBuffer::new(size_of_val(elements));
        // SAFETY: the buffer has exactly as many bytes as the slice, and they are separate blocks.
        unsafe {
            std::ptr::copy_nonoverlapping(
                elements.as_ptr().cast(),
                buffer.as_mut_ptr(),
                size_of_val(elements),
            );
        }
        Tensor { dtype: T::DTYPE, shape: shape.into(), memory: Memory::Owned(buffer) }
    }

    /// A tensor of the elements of a view in C order, where they are; [`as_mut_ptr`](Self::as_mut_ptr) copies them first.
    ///
    /// # Panics
    /// Where the view has gaps or another order, or its elements are not aligned to their size.
    ///
    /// # Safety
    /// The elements stay readable, and nobody writes them, for as long as `owner` lives.
    pub unsafe fn kept_by(owner: Arc<dyn Any + Send + Sync>, view: &View<'_>) -> Tensor {
        assert!(view.is_contiguous() && view.as_ptr().addr().is_multiple_of(view.dtype().size()));
        let memory = Memory::Kept { pointer: view.as_ptr(), owner };
        Tensor { dtype: view.dtype(), shape: view.shape().into(), memory }
    }

    /// A C-order copy of a view.
    pub fn copy_of(view: &View<'_>) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::zeros(view.dtype(), view.shape())?;
        let size = view.dtype().size();
        let mut to = tensor.as_mut_ptr();
        if view.is_contiguous() {
            // SAFETY: both hold len() elements in C order, in separate memory.
            unsafe { std::ptr::copy_nonoverlapping(view.as_ptr(), to, view.len() * size) };
            return Ok(tensor);
        }
        for_each_offset(view.shape(), view.strides(), |offset| {
            // SAFETY: the source element is the view's own; the buffer has room for len() elements, written in turn.
            unsafe {
                std::ptr::copy_nonoverlapping(view.as_ptr().offset(offset * size as isize), to, size);
                to = to.add(size);
            }
        });
        Ok(tensor)
    }

    /// Whether the elements are where somebody else keeps them.
    pub fn is_kept(&self) -> bool {
        matches!(self.memory, Memory::Kept { .. })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The first element.
    pub fn as_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    /// The first element, for writing.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        if let Memory::Kept { pointer, .. } = self.memory {
            let bytes = self.shape.iter().product::<usize>() * self.dtype.size();
            let mut copy = AlignedBuffer::new(bytes);
            // SAFETY: the owner keeps that many bytes; the copy has room for them.
            unsafe { std::ptr::copy_nonoverlapping(pointer, copy.as_mut_ptr(), bytes) };
            self.memory = Memory::Owned(copy);
        }
        match &mut self.memory {
            Memory::Owned(buffer) => buffer.as_mut_ptr(),
            Memory::Kept { .. } => unreachable!("replaced above"),
        }
    }

    /// The elements in C order.
    ///
    /// # Panics
    /// Where `T` is not the element type.
    pub fn slice<T: Element>(&self) -> &[T] {
        assert_eq!(self.dtype, T::DTYPE);
        // SAFETY: the memory is aligned for the elements and holds exactly the shape's, initialised.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), self.shape.iter().product()) }
    }

    /// A view of the whole tensor.
    pub fn view(&self) -> View<'_> {
        // SAFETY: C-order strides over the shape reach exactly the buffer's elements.
        unsafe {
            View::from_raw_parts(
                self.dtype,
                self.shape.clone(),
                contiguous_strides(&self.shape),
                self.as_ptr(),
            )
        }
    }

    /// A view of the whole tensor, for writing.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let (strides, pointer) = (contiguous_strides(&self.shape), self.as_mut_ptr());
        // SAFETY: as above, and the tensor is borrowed exclusively.
        unsafe { ViewMut::from_raw_parts(self.dtype, self.shape.clone(), strides, pointer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_others_keep_is_read_where_it_is_and_copied_before_it_is_written() {
        let owner: Arc<Vec<f32>> = Arc::new((0..6).map(|i| i as f32).collect());
        // SAFETY: the vector lives as long as its owner, and nobody writes it.
        let mut tensor = unsafe { Tensor::kept_by(owner.clone(), &View::of(&[2, 3], &owner[..])) };
        assert!(tensor.is_kept() && tensor.as_ptr() == owner.as_ptr().cast());
        assert_eq!(tensor.view().to_vec::<f32>(), owner[..]);
        tensor.view_mut().slice_mut::<f32>().unwrap()[1] = 9.0;
        assert_eq!(tensor.slice::<f32>(), [0.0, 9.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(!tensor.is_kept());
        assert_eq!((owner[1], Arc::strong_count(&owner)), (1.0, 1));
    }
}
