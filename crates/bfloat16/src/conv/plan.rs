use super::pointwise::Pointwise;
use super::strips::Strips;
use super::weights::{ConvWeights, TransposeWeights, is_pointwise};
use crate::Values;
use crate::product::{Finish, Rounded};
use crate::shared::CACHE_LINE;
use crate::values::Value;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_tensor::TensorError;
use vedette_tensor::conv::{ConvArguments, ConvShape, MAX_INPUTS, TransposeShape, Windows, five};
use vedette_tensor::matmul::Epilogue;

/// What a run reads and writes, the bias as long as there are columns.
pub(super) struct Arguments<'a, T, O> {
    /// First elements of the tensors that the channels lie in.
    pub inputs: &'a [*const T],
    pub bias: *const f32,
    pub residual: *const f32,
    pub out: *mut O,
}

// SAFETY: the pointers are only used by runs, whose callers answer for concurrent use.
unsafe impl<T, O> Sync for Arguments<'_, T, O> {}

#[derive(Debug)]
enum Method {
    Pointwise(Pointwise),
    Strips(Box<Strips>),
}

impl Method {
    fn new(
        threads: usize,
        windows: &Windows,
        x: [isize; 5],
        inputs: usize,
        weights: &ConvWeights,
    ) -> Result<Method, TensorError> {
        let layout = weights.columns.layout();
        Ok(match is_pointwise(windows) {
            true => Method::Pointwise(Pointwise::new(threads, windows, x, inputs, layout)),
            false => Method::Strips(Box::new(Strips::new(threads, windows, x, inputs, layout)?)),
        })
    }

    fn scratch_bytes(&self) -> usize {
        match self {
            Method::Pointwise(pointwise) => pointwise.scratch_bytes(),
            Method::Strips(strips) => strips.scratch_bytes(),
        }
    }

    /// # Safety
    /// As for [`ConvPlan::run`].
    unsafe fn run<T: Value, F: Finish>(
        &self,
        arguments: &Arguments<'_, T, F::Output>,
        weights: &ConvWeights,
        epilogue: F,
        scratch: *mut u8,
        pool: &ThreadPool,
    ) {
        let (layout, packed) = (weights.columns.layout(), weights.columns.as_ptr(0));
        // SAFETY: as granted by the caller.
        unsafe {
            match self {
                Method::Pointwise(method) => method.run(arguments, layout, packed, epilogue, scratch, pool),
                Method::Strips(method) => method.run(arguments, layout, packed, epilogue, scratch, pool),
            }
        }
    }
}

/// A planned convolution with a channels-last output.
#[derive(Debug)]
pub struct ConvPlan {
    method: Method,
    weights: Arc<ConvWeights>,
    epilogue: Epilogue,
    inputs: usize,
    x: Values,
    out: Values,
    work: u64,
}

impl ConvPlan {
    /// Plans a convolution of an input whose channels lie in `inputs` tensors of as many channels each and these strides.
    pub fn new(
        threads: usize,
        shape: &ConvShape,
        (x_strides, inputs): (&[isize], usize),
        weights: Arc<ConvWeights>,
        epilogue: Epilogue,
    ) -> Result<ConvPlan, TensorError> {
        assert!((1..=MAX_INPUTS).contains(&inputs));
        let windows = Windows::of_convolution(shape);
        let method = Method::new(threads, &windows, five(x_strides), inputs, &weights)?;
        let (x, out) = (Values::Float32, Values::Float32);
        Ok(ConvPlan { method, weights, epilogue, inputs, x, out, work: shape.work() })
    }

    /// The same where all the inputs that the channels lie in, and the output, are of these values.
    pub fn with_values(mut self, x: Values, out: Values) -> ConvPlan {
        (self.x, self.out) = (x, out);
        self
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        self.work
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.method.scratch_bytes()
    }

    /// Runs the convolution. Pointers to what is bfloat16 are cast.
    ///
    /// # Safety
    /// The arguments point to elements laid out and of the values as planned, the output to nothing else that is read
    /// except a residual that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes).
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        use Values::{Bfloat16, Float32};
        assert!(scratch.len() >= self.scratch_bytes());
        let (plain, rounded) = (self.epilogue, Rounded(self.epilogue));
        // SAFETY: planned for these shapes and values, on memory the caller grants.
        unsafe {
            match (self.x, self.out) {
                (Float32, Float32) => self.run_as::<f32, _>(arguments, plain, scratch, pool),
                (Float32, Bfloat16) => self.run_as::<f32, _>(arguments, rounded, scratch, pool),
                (Bfloat16, Float32) => self.run_as::<u16, _>(arguments, plain, scratch, pool),
                (Bfloat16, Bfloat16) => self.run_as::<u16, _>(arguments, rounded, scratch, pool),
            }
        }
    }

    /// # Safety
    /// As for [`run`](Self::run), whose inputs and output are of these values.
    unsafe fn run_as<T: Value, F: Finish>(
        &self,
        arguments: &ConvArguments,
        epilogue: F,
        scratch: &mut [u8],
        pool: &ThreadPool,
    ) {
        let [b, c, d] = arguments.further;
        let inputs = [arguments.x, b, c, d].map(<*const f32>::cast::<T>);
        let arguments = Arguments {
            inputs: &inputs[..self.inputs],
            bias: arguments.bias,
            residual: arguments.residual,
            out: arguments.out.cast::<F::Output>(),
        };
        // SAFETY: as granted by the caller.
        unsafe { self.method.run(&arguments, &self.weights, epilogue, scratch.as_mut_ptr(), pool) };
    }
}

/// Phases beyond which a transposed convolution is refused.
const MOST_PHASES: usize = 1 << 12;

/// A planned transposed convolution with a channels-last output: output positions of one remainder by the strides see
/// the same taps, so each such phase is a convolution whose outputs lie apart.
#[derive(Debug)]
pub struct TransposePlan {
    phases: Vec<Method>,
    weights: Arc<TransposeWeights>,
    epilogue: Epilogue,
    channels: usize,
    repeats: usize,
    work: u64,
}

impl TransposePlan {
    /// Plans a transposed convolution of an input with these strides.
    pub fn new(
        threads: usize,
        shape: &TransposeShape,
        x_strides: &[isize],
        weights: Arc<TransposeWeights>,
        epilogue: Epilogue,
    ) -> Result<TransposePlan, TensorError> {
        let count = shape.phases().count();
        if count > MOST_PHASES {
            return Err(TensorError(format!("a transposed convolution of {count} phases")));
        }
        let x = five(x_strides);
        let phases = shape.phases().zip(&weights.phases);
        let phases = phases
            .map(|(phase, weights)| Method::new(threads, &Windows::of_phase(shape, phase), x, 1, weights))
            .collect::<Result<_, _>>()?;
        let (channels, repeats) = (shape.out_channels, TransposeWeights::repeats(shape));
        Ok(TransposePlan { phases, weights, epilogue, channels, repeats, work: shape.work() })
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        self.work
    }

    /// Bytes of the bias as often as the channels follow each other.
    fn bias_bytes(&self) -> usize {
        match self.repeats {
            1 => 0,
            repeats => (repeats * self.channels * size_of::<f32>()).next_multiple_of(CACHE_LINE),
        }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.bias_bytes() + self.phases.iter().map(Method::scratch_bytes).max().unwrap_or(0)
    }

    /// Runs the transposed convolution.
    ///
    /// # Safety
    /// As for [`ConvPlan::run`]; there is no residual, and `scratch` is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let (repeated, scratch) = scratch.split_at_mut(self.bias_bytes());
        let mut bias = arguments.bias;
        if self.repeats > 1 && !bias.is_null() {
            let to = repeated.as_mut_ptr().cast::<f32>();
            for i in 0..self.repeats {
                // SAFETY: the bias has a value for each channel, and there is room for that many of them.
                unsafe { std::ptr::copy_nonoverlapping(bias, to.add(i * self.channels), self.channels) };
            }
            bias = to;
        }
        let arguments =
            Arguments { inputs: &[arguments.x], bias, residual: std::ptr::null(), out: arguments.out };
        for (phase, weights) in self.phases.iter().zip(&self.weights.phases) {
            // SAFETY: planned for these shapes, on memory the caller grants; phases run one after the other.
            unsafe { phase.run(&arguments, weights, self.epilogue, scratch.as_mut_ptr(), pool) };
        }
    }
}
