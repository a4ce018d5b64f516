use super::direct::Direct;
use super::strips::Strips;
use super::weights::ConvWeights;
use crate::Epilogue;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_tensor::TensorError;
use vedette_tensor::conv::{ConvShape, five};

/// What a run of a convolution reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct ConvArguments {
    /// First element of the input.
    pub x: *const u8,
    /// As the output, or null; may be the output.
    pub residual: *const u8,
    /// First element of the output: f32 or u8.
    pub out: *mut u8,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for ConvArguments {}

enum Method {
    Direct(Direct),
    Strips(Strips),
}

/// A planned convolution with a channels-last output.
pub struct ConvPlan {
    shape: ConvShape,
    method: Method,
    weights: Arc<ConvWeights>,
    epilogue: Arc<Epilogue>,
}

impl ConvPlan {
    /// Plans a convolution of an input with these strides. The weights were packed for `zero_point`, which stands for
    /// zero in the input and in its padding.
    pub fn new(
        threads: usize,
        shape: ConvShape,
        x_strides: &[isize],
        zero_point: u8,
        weights: Arc<ConvWeights>,
        epilogue: Arc<Epilogue>,
    ) -> Result<ConvPlan, TensorError> {
        let x = five(x_strides);
        let method = match Direct::new(threads, &shape, x, &weights) {
            Some(direct) => Method::Direct(direct),
            None => Method::Strips(Strips::new(threads, &shape, x, zero_point, &weights)?),
        };
        Ok(ConvPlan { shape, method, weights, epilogue })
    }

    /// The sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        match &self.method {
            Method::Direct(_) => 0,
            Method::Strips(strips) => strips.scratch_bytes(),
        }
    }

    /// Runs the convolution.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes).
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        // SAFETY: planned for these shapes, on memory the caller grants.
        unsafe {
            match &self.method {
                Method::Direct(direct) => direct.run(arguments, &self.weights, &self.epilogue, pool),
                Method::Strips(strips) => {
                    strips.run(arguments, &self.weights, &self.epilogue, scratch.as_mut_ptr(), pool);
                }
            }
        }
    }
}
