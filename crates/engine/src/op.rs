//! What an operator is to the planner: shapes, values and views in; a step to run, a view, or values out.

use thiserror::Error;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::{
    DType, Dims, Strides, Tensor, TensorError, View, ViewMut, channels_last_strides, contiguous_strides,
};

/// What went wrong, and whose fault it is.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The program contradicts itself or the operator's rules.
    #[error("{0}")]
    Invalid(String),
    /// The program is sound, but the engine does not have this.
    #[error("{0}")]
    Unsupported(String),
    /// The caller's input does not fit the program.
    #[error("{0}")]
    Input(String),
    /// A tensor would need more memory than there is or than is allowed.
    #[error("{0}")]
    Memory(String),
}

impl EngineError {
    /// The same error, saying where it arose.
    pub(crate) fn within(self, place: &str) -> EngineError {
        match self {
            EngineError::Invalid(message) => EngineError::Invalid(format!("{place}: {message}")),
            EngineError::Unsupported(message) => EngineError::Unsupported(format!("{place}: {message}")),
            EngineError::Input(message) => EngineError::Input(format!("{place}: {message}")),
            EngineError::Memory(message) => EngineError::Memory(format!("{place}: {message}")),
        }
    }
}

impl From<TensorError> for EngineError {
    fn from(error: TensorError) -> Self {
        EngineError::Invalid(error.0)
    }
}

/// Type, shape and memory order of a tensor.
#[derive(Clone, Debug, Eq)]
pub struct TensorSpec {
    /// Element type.
    pub dtype: DType,
    /// Logical shape.
    pub shape: Dims,
    /// Strides in elements.
    pub strides: Strides,
}

impl TensorSpec {
    /// A tensor in C order.
    pub fn contiguous(dtype: DType, shape: &[usize]) -> TensorSpec {
        TensorSpec { dtype, shape: shape.into(), strides: contiguous_strides(shape) }
    }

    /// A tensor `[N, C, ...]` that lies in memory as `[N, ..., C]`.
    pub fn channels_last(dtype: DType, shape: &[usize]) -> TensorSpec {
        TensorSpec { dtype, shape: shape.into(), strides: channels_last_strides(shape) }
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// Equal where every element lies at the same place; the stride of an axis of one element says nothing.
impl PartialEq for TensorSpec {
    fn eq(&self, other: &TensorSpec) -> bool {
        let axes = self.strides.iter().zip(&other.strides).zip(&self.shape);
        self.dtype == other.dtype
            && self.shape == other.shape
            && axes.into_iter().all(|((a, b), &dim)| a == b || dim <= 1)
    }
}

/// Bytes of a tensor, or an error where they would be more than `limit`. Empty axes count as one, as kernels keep
/// tables as long as the others.
pub(crate) fn check_size(dtype: DType, shape: &[usize], limit: usize) -> Result<usize, EngineError> {
    let bounded = shape.iter().try_fold(dtype.size(), |bytes, &dim| bytes.checked_mul(dim.max(1)));
    match bounded {
        Some(bytes) if bytes <= limit => Ok(if shape.contains(&0) { 0 } else { bytes }),
        _ => Err(EngineError::Memory(format!(
            "a {dtype} tensor of shape {shape:?} exceeds the limit of {limit} bytes"
        ))),
    }
}

/// An input while planning: always its spec, and its value where that is known.
#[derive(Clone, Debug)]
pub struct PlanInput<'a> {
    /// Type, shape and memory order.
    pub spec: TensorSpec,
    /// The elements, if they are constant or follow from shapes alone.
    pub value: Option<View<'a>>,
    /// Whether the value is the same in every plan (a constant of the program or computed from constants alone), so
    /// that work on it (packing weights) may be kept in the operator. Once the operator has
    /// [released](Operator::released_inputs) it, `constant` stays true and `value` is `None`.
    pub constant: bool,
}

/// The rows (axis 2) of an input map `[N, C, H, W]` that rows of the output are computed from: output row `r` reads
/// `extent` rows from `r / repeat * stride - before` on, as far as there are such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowWindow {
    /// Rows from one window to the next.
    pub stride: usize,
    /// Rows of a window.
    pub extent: usize,
    /// Rows of padding above the map.
    pub before: usize,
    /// Neighbouring output rows that share a window, and are computed together.
    pub repeat: usize,
}

impl RowWindow {
    /// Output row `r` reads input row `r`.
    pub const SAME: RowWindow = RowWindow::enlarged(1);

    /// `repeat` output rows for each input row.
    pub const fn enlarged(repeat: usize) -> RowWindow {
        RowWindow { stride: 1, extent: 1, before: 0, repeat }
    }

    /// The first row of the map that is read for the output rows from `row` on.
    pub(crate) fn first(&self, row: usize) -> usize {
        (row / self.repeat * self.stride).saturating_sub(self.before)
    }

    /// Behind the last row that is read for the output rows up to `end`, were the map without end.
    pub(crate) fn end(&self, end: usize) -> usize {
        (end.div_ceil(self.repeat).saturating_sub(1) * self.stride + self.extent).saturating_sub(self.before)
    }
}

/// What an operator may know while planning.
#[derive(Debug)]
pub struct PlanContext<'a> {
    /// One for each input of the node; `None` where an optional input is absent.
    pub inputs: &'a [Option<PlanInput<'a>>],
    /// Number of outputs the node has.
    pub outputs: usize,
    /// Level to choose kernels for.
    pub isa: Isa,
    /// Threads the step will have.
    pub threads: usize,
    /// The axes of output 0, slowest first, in the memory order its readers would like best. A wish that an operator
    /// may grant when it costs nothing.
    pub preferred_order: Option<&'a [usize]>,
    /// Whether every reader of output 0 rounds it to bfloat16 before anything else, as
    /// [`rounds_input`](Operator::rounds_input) says: it may be written so, with half the bytes and the same results.
    pub rounded: bool,
    /// Bytes that one tensor may take.
    pub memory_limit: usize,
    /// Where the maps among the inputs are strips of rows: the rows of padding above and below them, in place of those
    /// that the node has for whole maps.
    pub row_padding: Option<[usize; 2]>,
}

impl<'a> PlanContext<'a> {
    /// Input `i`, which the operator requires.
    pub fn input(&self, i: usize) -> Result<&'a PlanInput<'a>, EngineError> {
        self.optional(i).ok_or_else(|| EngineError::Invalid(format!("input {i} is missing")))
    }

    /// Input `i`, if present.
    pub fn optional(&self, i: usize) -> Option<&'a PlanInput<'a>> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    /// A tensor of zeros for [`Planned::Values`]; an error where it would be larger than the memory limit.
    pub fn zeros(&self, dtype: DType, shape: &[usize]) -> Result<Tensor, EngineError> {
        check_size(dtype, shape, self.memory_limit)?;
        Tensor::zeros(dtype, shape).map_err(|error| EngineError::Memory(error.0))
    }
}

/// Where an output that is a view begins and how it lies in its input's memory.
#[derive(Clone, Debug)]
pub struct ViewOf {
    /// Type, shape and strides of the output.
    pub spec: TensorSpec,
    /// Elements from the input's first element to the output's first; strides may be negative.
    pub offset: isize,
}

/// What planning a node comes to.
pub enum Planned {
    /// Every output is a view of input `input`: nothing runs.
    Views {
        /// Which input's memory the outputs share.
        input: usize,
        /// One for each output.
        views: Vec<ViewOf>,
    },
    /// A step runs.
    Step {
        /// One spec for each output; each is dense (its elements fill a block without gaps).
        outputs: Vec<TensorSpec>,
        /// Inputs whose memory output 0 may take over when they are not needed afterwards. The input must have the
        /// output's dtype, shape and strides, and the step must be right when both are the same memory.
        in_place: Vec<usize>,
        /// Bytes of scratch memory the step needs, 64-byte aligned, contents undefined.
        scratch_bytes: usize,
        /// The work.
        step: Box<dyn Step>,
    },
    /// The outputs are known now (Shape; outputs whose size depends on values, such as NonZero).
    Values(Vec<Tensor>),
    /// The value of this input decides the outputs' shapes and is not known: run what comes before, then ask again.
    NeedsValue(usize),
}

/// An input of a node, before anything is planned.
pub struct ReadInput<'a> {
    /// Its position.
    pub position: usize,
    /// Level to choose kernels for.
    pub isa: Isa,
    /// Whether every reader of the node's outputs rounds them: [`PlanContext::rounded`] of all of them.
    pub rounded: bool,
    /// Whether the input of that position is a constant of the program.
    pub is_constant: &'a dyn Fn(usize) -> bool,
}

/// A node of the program, made once when the program is loaded.
pub trait Operator: Send + Sync {
    /// Plans the node for inputs of these shapes.
    ///
    /// Called again for every new input shape, so it must be quick: microseconds. What depends on constants alone
    /// (packed weights) is made at the first call and kept inside the operator.
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError>;

    /// The rows of input `input`, a map `[1, C, H, W]`, that rows of the only output are computed from, where the output
    /// can be planned in strips of rows, as [`PlanContext::row_padding`] says; `None` where it needs whole maps. The
    /// context is that of whole maps.
    fn row_window(&self, _context: &PlanContext<'_>, _input: usize) -> Option<RowWindow> {
        None
    }

    /// Whether the operator rounds an input to bfloat16 before anything else, and takes it as bfloat16 too.
    fn rounds_input(&self, _input: &ReadInput<'_>) -> bool {
        false
    }

    /// Constant inputs that the operator holds in a form of its own by now (packed weights), asked after `plan`.
    ///
    /// Their memory is freed once every reader has released them: from then on `plan` sees no `value` for them and the
    /// step sees `None`.
    fn released_inputs(&self) -> &[usize] {
        &[]
    }

    /// Bytes the operator keeps (packed weights).
    fn packed_bytes(&self) -> usize {
        0
    }
}

/// The planned work of a node.
pub trait Step: Send + Sync {
    /// Runs the work. It allocates nothing and cannot fail: what could go wrong was checked while planning.
    fn run(&self, context: &mut RunContext<'_, '_>);

    /// Multiplications with addition that a run takes, for the profile; 0 where that says nothing.
    fn multiply_accumulates(&self) -> u64 {
        0
    }

    /// What the operands of its products are rounded to, for the profile; empty where that says nothing.
    fn precision(&self) -> &'static str {
        ""
    }
}

/// What a step works on.
pub struct RunContext<'a, 'b> {
    /// The inputs, as planned; `None` where an optional input is absent.
    pub inputs: &'a [Option<View<'b>>],
    /// The outputs, as planned. With `in_place`, output 0 may share the memory of that input.
    pub outputs: &'a mut [ViewMut<'b>],
    /// Scratch memory of the size asked for.
    pub scratch: &'a mut [u8],
    /// Threads to use.
    pub pool: &'a ThreadPool,
}
