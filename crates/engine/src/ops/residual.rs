//! Tensors that are added in an epilogue.

use crate::op::{EngineError, PlanInput, TensorSpec};
use vedette_runtime::ThreadPool;
use vedette_tensor::movement::Copy;
use vedette_tensor::{View, ViewMut};

/// How a residual of the output's shape is read.
pub(super) enum Residual {
    /// There is none.
    Absent,
    /// It lies as the output does, perhaps in the same memory.
    AsOutput,
    /// It lies otherwise: it is copied to the output first, which then is the residual.
    Copied(Box<Copy>),
}

impl Residual {
    pub(super) fn new(input: Option<&PlanInput<'_>>, output: &TensorSpec) -> Result<Residual, EngineError> {
        match input {
            None => Ok(Residual::Absent),
            Some(input) if input.spec == *output => Ok(Residual::AsOutput),
            Some(input) if input.spec.shape == output.shape => {
                let size = output.dtype.size();
                let copy = Copy::new(&output.shape, &input.spec.strides, &output.strides, size);
                Ok(Residual::Copied(Box::new(copy)))
            }
            Some(input) => Err(EngineError::Invalid(format!(
                "a residual of shape {:?} for an output of shape {:?}",
                input.spec.shape, output.shape
            ))),
        }
    }

    pub(super) fn is_in_place(&self) -> bool {
        matches!(self, Residual::AsOutput)
    }

    /// Where to read it, null where absent.
    pub(super) fn pointer(
        &self,
        input: Option<&Option<View<'_>>>,
        output: &mut ViewMut<'_>,
        pool: &ThreadPool,
    ) -> *const f32 {
        match (self, input.and_then(Option::as_ref)) {
            (Residual::AsOutput, Some(view)) => view.as_ptr_of::<f32>(),
            (Residual::Copied(copy), Some(view)) => {
                copy.run(view, output, pool);
                output.as_ptr_of::<f32>()
            }
            _ => std::ptr::null(),
        }
    }
}

/// How a vector with a value for each output channel or column is read.
pub(super) struct Bias {
    /// Where the vector is strided: its place in scratch, in bytes from the beginning.
    gathered: Option<usize>,
}

impl Bias {
    /// `scratch_bytes` is what the step needs besides, and grows where the vector must be gathered.
    pub(super) fn new(
        input: Option<&PlanInput<'_>>,
        len: usize,
        scratch_bytes: &mut usize,
    ) -> Result<Bias, EngineError> {
        let Some(input) = input else { return Ok(Bias { gathered: None }) };
        if input.spec.shape.as_slice() != [len] {
            let shape = &input.spec.shape;
            return Err(EngineError::Invalid(format!("a bias of shape {shape:?}, expected [{len}]")));
        }
        if len <= 1 || input.spec.strides[0] == 1 {
            return Ok(Bias { gathered: None });
        }
        let at = scratch_bytes.next_multiple_of(64);
        *scratch_bytes = at + len * size_of::<f32>();
        Ok(Bias { gathered: Some(at) })
    }

    /// Where to read it, null where absent.
    pub(super) fn pointer(&self, view: Option<&Option<View<'_>>>, scratch: &mut [u8]) -> *const f32 {
        let Some(view) = view.and_then(Option::as_ref) else { return std::ptr::null() };
        let from = view.as_ptr_of::<f32>();
        let Some(at) = self.gathered else { return from };
        let (len, stride) = (view.shape()[0], view.strides()[0]);
        let to = scratch[at..at + len * size_of::<f32>()].as_mut_ptr().cast::<f32>();
        for i in 0..len {
            // SAFETY: element i of the vector; the scratch was asked for, 64-byte aligned.
            unsafe { to.add(i).write(*from.offset(i as isize * stride)) };
        }
        to
    }
}
