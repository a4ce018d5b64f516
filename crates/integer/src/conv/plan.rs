use super::direct::Direct;
use super::strips::Strips;
use super::weights::{ConvWeights, TransposeWeights};
use crate::Epilogue;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_tensor::TensorError;
use vedette_tensor::conv::Windows;
use vedette_tensor::conv::{ConvShape, TransposeShape, five};

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
    Strips(Box<Strips>),
}

impl Method {
    fn new(
        threads: usize,
        windows: &Windows,
        x: [isize; 5],
        zero_point: u8,
        weights: &ConvWeights,
    ) -> Result<Method, TensorError> {
        Ok(match Direct::new(threads, windows, x, weights) {
            Some(direct) => Method::Direct(direct),
            None => Method::Strips(Box::new(Strips::new(threads, windows, x, zero_point, weights)?)),
        })
    }

    fn scratch_bytes(&self) -> usize {
        match self {
            Method::Direct(_) => 0,
            Method::Strips(strips) => strips.scratch_bytes(),
        }
    }

    /// # Safety
    /// As for [`ConvPlan::run`].
    unsafe fn run(
        &self,
        arguments: &ConvArguments,
        weights: &ConvWeights,
        epilogue: &Epilogue,
        scratch: *mut u8,
        pool: &ThreadPool,
    ) {
        // SAFETY: as granted by the caller.
        unsafe {
            match self {
                Method::Direct(direct) => direct.run(arguments, weights, epilogue, pool),
                Method::Strips(strips) => strips.run(arguments, weights, epilogue, scratch, pool),
            }
        }
    }
}

/// A planned convolution with a channels-last output.
pub struct ConvPlan {
    method: Method,
    weights: Arc<ConvWeights>,
    epilogue: Arc<Epilogue>,
}

impl ConvPlan {
    /// Plans a convolution of an input with these strides. The weights were packed for `zero_point`, which stands for
    /// zero in the input and in its padding.
    pub fn new(
        threads: usize,
        shape: &ConvShape,
        x_strides: &[isize],
        zero_point: u8,
        weights: Arc<ConvWeights>,
        epilogue: Arc<Epilogue>,
    ) -> Result<ConvPlan, TensorError> {
        let windows = Windows::of_convolution(shape);
        let method = Method::new(threads, &windows, five(x_strides), zero_point, &weights)?;
        Ok(ConvPlan { method, weights, epilogue })
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.method.scratch_bytes()
    }

    /// Runs the convolution.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes).
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let (weights, epilogue) = (&self.weights, &self.epilogue);
        // SAFETY: planned for these shapes, on memory the caller grants.
        unsafe { self.method.run(arguments, weights, epilogue, scratch.as_mut_ptr(), pool) };
    }
}

/// Phases beyond which a transposed convolution is refused.
const MOST_PHASES: usize = 1 << 12;

/// A planned transposed convolution with a channels-last output: output positions of one remainder by the strides see
/// the same taps, so each such phase is a convolution whose outputs lie apart.
pub struct TransposePlan {
    phases: Vec<Method>,
    weights: Arc<TransposeWeights>,
    epilogue: Arc<Epilogue>,
}

impl TransposePlan {
    /// An error where there would be too many phases, to be asked before weights are packed.
    pub fn check(shape: &TransposeShape) -> Result<(), TensorError> {
        match shape.phases().count() {
            count if count > MOST_PHASES => {
                Err(TensorError(format!("a transposed convolution of {count} phases")))
            }
            _ => Ok(()),
        }
    }

    /// Plans a transposed convolution of an input with these strides. The weights were packed for `zero_point`; the
    /// epilogue knows the output channels as often as [`TransposeWeights::repeats`] says.
    pub fn new(
        threads: usize,
        shape: &TransposeShape,
        x_strides: &[isize],
        zero_point: u8,
        weights: Arc<TransposeWeights>,
        epilogue: Arc<Epilogue>,
    ) -> Result<TransposePlan, TensorError> {
        let x = five(x_strides);
        let phases = shape.phases().zip(&weights.phases);
        let phases = phases.map(|(phase, weights)| {
            Method::new(threads, &Windows::of_phase(shape, phase), x, zero_point, weights)
        });
        Ok(TransposePlan { phases: phases.collect::<Result<_, _>>()?, weights, epilogue })
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.phases.iter().map(Method::scratch_bytes).max().unwrap_or(0)
    }

    /// Runs the transposed convolution.
    ///
    /// # Safety
    /// As for [`ConvPlan::run`]; there is no residual.
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        for (phase, weights) in self.phases.iter().zip(&self.weights.phases) {
            // SAFETY: planned for these shapes, on memory the caller grants; phases run one after the other.
            unsafe { phase.run(arguments, weights, &self.epilogue, scratch.as_mut_ptr(), pool) };
        }
    }
}
