//! Temporary tensors of a step in its scratch memory.

use crate::op::{EngineError, TensorSpec};
use std::ops::Range;
use vedette_tensor::{Dims, Strides, View, ViewMut, element_count};

const ALIGNMENT: usize = 64;

/// Lays out the temporary tensors of a step one after the other.
#[derive(Default)]
pub(super) struct ScratchPlan {
    bytes: usize,
}

impl ScratchPlan {
    /// Reserves memory for a dense tensor.
    pub(super) fn tensor(&mut self, spec: &TensorSpec) -> Result<ScratchTensor, EngineError> {
        let end = element_count(&spec.shape)
            .and_then(|count| count.checked_mul(spec.dtype.size()))
            .and_then(|bytes| bytes.checked_add(self.bytes));
        let next = end.and_then(|end| end.checked_next_multiple_of(ALIGNMENT));
        let (Some(end), Some(next)) = (end, next) else {
            let shape = &spec.shape[..];
            return Err(EngineError::Memory(format!("a temporary tensor of shape {shape:?} is too large")));
        };
        let bytes = self.bytes..end;
        self.bytes = next;
        Ok(ScratchTensor { spec: spec.clone(), bytes })
    }

    /// Bytes reserved so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A temporary tensor: where it lies in the scratch memory of its step.
#[derive(Clone, Debug)]
pub(super) struct ScratchTensor {
    spec: TensorSpec,
    bytes: Range<usize>,
}

impl ScratchTensor {
    /// Where it lies in the scratch memory.
    pub(super) fn bytes(&self) -> Range<usize> {
        self.bytes.clone()
    }

    fn parts(&self) -> (Dims, Strides) {
        (self.spec.shape.clone(), self.spec.strides.clone())
    }

    /// The tensor for reading; its elements are whatever was last written there.
    pub(super) fn view<'s>(&self, scratch: &'s [u8]) -> View<'s> {
        let pointer = scratch[self.bytes.clone()].as_ptr();
        let (shape, strides) = self.parts();
        // SAFETY: the tensor is dense and its bytes are within the scratch memory, which is aligned to 64 bytes.
        unsafe { View::from_raw_parts(self.spec.dtype, shape, strides, pointer) }
    }

    /// The tensor for writing.
    pub(super) fn view_mut<'s>(&self, scratch: &'s mut [u8]) -> ViewMut<'s> {
        let pointer = scratch[self.bytes.clone()].as_mut_ptr();
        let (shape, strides) = self.parts();
        // SAFETY: as above, and the scratch memory is borrowed exclusively.
        unsafe { ViewMut::from_raw_parts(self.spec.dtype, shape, strides, pointer) }
    }

    /// Writes `value(i)` to every element `i` in memory order of a float32 tensor.
    pub(super) fn fill(&self, scratch: &mut [u8], value: impl Fn(usize) -> f32) {
        let mut view = self.view_mut(scratch);
        for (i, element) in view.dense_slice_mut::<f32>().unwrap_or_default().iter_mut().enumerate() {
            *element = value(i);
        }
    }

    /// The tensor for writing beside others for reading.
    pub(super) fn view_mut_beside<'s, const N: usize>(
        &self,
        scratch: &'s mut [u8],
        others: [&ScratchTensor; N],
    ) -> (ViewMut<'s>, [View<'s>; N]) {
        let base = scratch.as_mut_ptr();
        let len = scratch.len();
        let at = |tensor: &ScratchTensor| {
            assert!(tensor.bytes.end <= len);
            // SAFETY: within the scratch memory, as just checked.
            unsafe { base.add(tensor.bytes.start) }
        };
        let views = others.map(|other| {
            assert!(other.bytes.end <= self.bytes.start || self.bytes.end <= other.bytes.start);
            let (shape, strides) = other.parts();
            // SAFETY: as in `view`; the bytes are apart from those written.
            unsafe { View::from_raw_parts(other.spec.dtype, shape, strides, at(other)) }
        });
        let (shape, strides) = self.parts();
        // SAFETY: as in `view_mut`; no other view reaches these bytes.
        let written = unsafe { ViewMut::from_raw_parts(self.spec.dtype, shape, strides, at(self)) };
        (written, views)
    }
}
