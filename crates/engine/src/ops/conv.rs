//! Conv.

use super::Build;
use super::packed::Packed;
use super::planning::layout;
use super::precision::{Precision, values_of};
use super::residual::{Bias, Residual};
use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, Planned, ReadInput, RowWindow, RunContext, Step, TensorSpec,
    check_size,
};
use std::sync::Arc;
use vedette_bfloat16::Values;
use vedette_bfloat16::conv as bfloat16;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::conv::{
    AutoPad, Axis, ConvArguments, ConvPlan, ConvShape, ConvWeights, MAX_INPUTS, WindowAttributes,
};
use vedette_tensor::elementwise::{Map, cast};
use vedette_tensor::matmul::Epilogue;
use vedette_tensor::movement::Copy;
use vedette_tensor::{DType, Dims, Strides, ViewMut, channels_last_strides};

pub(super) const OPERATORS: &[(&str, Build)] = &[("Conv", conv)];

/// The window attributes of a node.
pub(super) fn window(attributes: &Attributes) -> Result<WindowAttributes, EngineError> {
    Ok(WindowAttributes {
        strides: attributes.ints("strides")?.unwrap_or_default(),
        dilations: attributes.ints("dilations")?.unwrap_or_default(),
        pads: attributes.ints("pads")?.unwrap_or_default(),
        auto_pad: auto_pad(attributes)?,
        ceil_mode: attributes.flag_or("ceil_mode", false)?,
    })
}

pub(super) fn auto_pad(attributes: &Attributes) -> Result<AutoPad, EngineError> {
    let name = attributes.string_or("auto_pad", "NOTSET")?;
    AutoPad::from_name(name).ok_or_else(|| EngineError::Invalid(format!("auto_pad is `{name}`")))
}

/// The shape of a convolution of whole maps, or of the strips that the context says.
pub(super) fn conv_shape(
    context: &PlanContext<'_>,
    x: &[usize],
    w: &[usize],
    groups: i64,
    window: &WindowAttributes,
) -> Result<ConvShape, EngineError> {
    let shape = ConvShape::new(x, w, groups, window)?;
    Ok(match context.row_padding {
        Some(padding) => shape.with_row_padding(padding),
        None => shape,
    })
}

/// The rows that a window over an image reads.
pub(super) fn row_window(axis: &Axis) -> RowWindow {
    RowWindow { stride: axis.stride, extent: axis.extent(), before: axis.pad_begin, repeat: 1 }
}

/// An error unless these inputs, where present, are `float32`.
pub(super) fn require_f32(
    context: &PlanContext<'_>,
    inputs: std::ops::Range<usize>,
) -> Result<(), EngineError> {
    for i in inputs {
        if let Some(input) = context.optional(i)
            && input.spec.dtype != DType::F32
        {
            return Err(EngineError::Unsupported(format!(
                "input {i} is {}, expected float32",
                input.spec.dtype
            )));
        }
    }
    Ok(())
}

/// An error where `kernel_shape` contradicts the weights.
pub(super) fn check_kernel(attributes: &Option<Vec<i64>>, w: &[usize]) -> Result<(), EngineError> {
    match attributes {
        Some(kernel) if !kernel.iter().copied().eq(w.iter().skip(2).map(|&size| size as i64)) => {
            Err(EngineError::Invalid(format!("kernel_shape is {kernel:?}, the weights have shape {w:?}")))
        }
        _ => Ok(()),
    }
}

const RESIDUAL: usize = 3;

/// Inputs before the further ones that the channels may lie in.
const FIRST_FURTHER: usize = 4;

struct Conv {
    window: WindowAttributes,
    kernel: Option<Vec<i64>>,
    groups: i64,
    epilogue: Epilogue,
    precision: Precision,
    weights: Packed<Isa, ConvWeights>,
    bfloat16_weights: Packed<Isa, bfloat16::ConvWeights>,
}

fn conv(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(Conv {
        window: window(attributes)?,
        kernel: attributes.ints("kernel_shape")?,
        groups: attributes.int_or("group", 1)?,
        epilogue: Epilogue { activation: attributes.activation("activation")? },
        precision: Precision::of(attributes)?,
        weights: Packed::new(),
        bfloat16_weights: Packed::new(),
    }))
}

impl Operator for Conv {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let (x, w) = (&context.input(0)?.spec, context.input(1)?);
        require_f32(context, 1..FIRST_FURTHER)?;
        check_kernel(&self.kernel, &w.spec.shape)?;
        let parts = Parts::of(context)?;
        let rounded_inputs = parts.dtype == DType::BF16;
        let shape = conv_shape(context, &parts.shape, &w.spec.shape, self.groups, &self.window)?;
        let y = shape.output();
        check_size(DType::F32, &y, context.memory_limit)?;
        let weights = self.weights(context, &shape, rounded_inputs)?;
        let in_bfloat16 = matches!(weights, Weights::Bfloat16(_));
        if rounded_inputs && !in_bfloat16 {
            return Err(EngineError::Unsupported("input 0 is bfloat16, expected float32".into()));
        }
        // A residual that lies otherwise is copied to the output, which is of its type then.
        let rounded_output = in_bfloat16 && context.rounded && context.optional(RESIDUAL).is_none();
        let dtype = if rounded_output { DType::BF16 } else { DType::F32 };
        let values = [parts.dtype, dtype].map(|dtype| values_of(dtype).unwrap_or(Values::Float32));
        let output = TensorSpec::channels_last(dtype, &y);
        let residual = Residual::new(context.optional(RESIDUAL), &output)?;
        let plan = |strides: &[isize], inputs: usize| {
            Plan::new(context, &shape, (strides, inputs), values, weights.clone(), self.epilogue)
        };
        let separate = if parts.alike { plan(&x.strides, parts.count)? } else { None };
        let (plan, joined) = match separate {
            Some(plan) => (plan, None),
            None => {
                check_size(parts.dtype, &parts.shape, context.memory_limit)?;
                let joined = plan(&channels_last_strides(&parts.shape), 1)?;
                let joined = joined.ok_or_else(|| EngineError::Invalid("no plan for one input".into()))?;
                (joined, Some(JoinedParts::new(context, &parts)?))
            }
        };
        let mut scratch_bytes = plan.scratch_bytes();
        let joined = joined.map(|joined| (joined, reserve(&mut scratch_bytes, parts.bytes())));
        let bias = Bias::new(context.optional(2), y[1], &mut scratch_bytes)?;
        Ok(Planned::Step {
            in_place: if residual.is_in_place() { vec![RESIDUAL] } else { vec![] },
            scratch_bytes,
            outputs: vec![output],
            step: Box::new(ConvStep { plan, parts: parts.count, joined, residual, bias }),
        })
    }

    fn row_window(&self, context: &PlanContext<'_>, input: usize) -> Option<RowWindow> {
        if input == RESIDUAL {
            return Some(RowWindow::SAME);
        }
        let (x, w) = (Parts::of(context).ok()?.shape, &context.optional(1)?.spec.shape);
        ConvShape::new(&x, w, self.groups, &self.window).ok().map(|shape| row_window(&shape.axes[1]))
    }

    fn rounds_input(&self, input: &ReadInput<'_>) -> bool {
        let is_map = input.position == 0 || input.position >= FIRST_FURTHER;
        // Weights that are no constant are packed in every run, for float32.
        let packs = self.groups == 1 && (input.is_constant)(1);
        is_map && packs && self.precision.is_bfloat16(input.isa)
    }

    fn released_inputs(&self) -> &[usize] {
        if self.weights.is_made() || self.bfloat16_weights.is_made() { &[1] } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes() + self.bfloat16_weights.bytes()
    }
}

impl Conv {
    /// The packed weights, in the precision that the node is computed in.
    fn weights(
        &self,
        context: &PlanContext<'_>,
        shape: &ConvShape,
        rounded_inputs: bool,
    ) -> Result<Weights, EngineError> {
        let (isa, w) = (context.isa, context.input(1)?);
        if !w.constant {
            return Ok(Weights::Float32(None));
        }
        let pays = rounded_inputs || bfloat16::ConvWeights::pays(shape);
        if self.precision.is_bfloat16(isa) && bfloat16::ConvWeights::supports(shape) && pays {
            let packed = self.bfloat16_weights.get(isa, || {
                Ok::<_, EngineError>(w.value.as_ref().map(|view| {
                    let weights = bfloat16::ConvWeights::new(isa, shape, view);
                    let bytes = weights.bytes();
                    (weights, bytes)
                }))
            })?;
            if let Some(packed) = packed {
                return Ok(Weights::Bfloat16(packed));
            }
        }
        let packed = self.weights.get(isa, || {
            Ok::<_, EngineError>(w.value.as_ref().map(|view| {
                let weights = ConvWeights::new(isa, shape, view);
                let bytes = weights.bytes();
                (weights, bytes)
            }))
        })?;
        Ok(Weights::Float32(packed))
    }
}

/// Packed weights of either precision; those of float32 may be packed in every run.
#[derive(Clone)]
enum Weights {
    Float32(Option<Arc<ConvWeights>>),
    Bfloat16(Arc<bfloat16::ConvWeights>),
}

/// A convolution of either precision.
enum Plan {
    Float32(Box<ConvPlan>),
    Bfloat16(Box<bfloat16::ConvPlan>),
}

impl Plan {
    /// A plan for channels in `inputs` tensors of these strides, if there is one for so many.
    fn new(
        context: &PlanContext<'_>,
        shape: &ConvShape,
        (strides, inputs): (&[isize], usize),
        [x, out]: [Values; 2],
        weights: Weights,
        epilogue: Epilogue,
    ) -> Result<Option<Plan>, EngineError> {
        let threads = context.threads;
        Ok(match weights {
            Weights::Bfloat16(weights) => {
                let plan = bfloat16::ConvPlan::new(threads, shape, (strides, inputs), weights, epilogue)?;
                Some(Plan::Bfloat16(Box::new(plan.with_values(x, out))))
            }
            Weights::Float32(weights) => {
                let (shape, w) = (shape.clone(), &context.input(1)?.spec.strides);
                let plan = ConvPlan::new(context.isa, threads, shape, strides, w, weights, epilogue);
                if inputs > 1 { plan.with_inputs(inputs) } else { Some(plan) }
                    .map(|plan| Plan::Float32(Box::new(plan)))
            }
        })
    }

    fn scratch_bytes(&self) -> usize {
        match self {
            Plan::Float32(plan) => plan.scratch_bytes(),
            Plan::Bfloat16(plan) => plan.scratch_bytes(),
        }
    }

    fn work(&self) -> u64 {
        match self {
            Plan::Float32(plan) => plan.shape().work(),
            Plan::Bfloat16(plan) => plan.work(),
        }
    }

    /// # Safety
    /// As for the plans' own.
    unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        // SAFETY: as granted by the caller.
        unsafe {
            match self {
                Plan::Float32(plan) => plan.run(arguments, scratch, pool),
                Plan::Bfloat16(plan) => plan.run(arguments, scratch, pool),
            }
        }
    }
}

/// The input's channels, in one tensor or, as inputs 0 and 4 and on, in several of equal shapes.
struct Parts {
    /// Shape of them all together.
    shape: Dims,
    count: usize,
    /// Whether they lie alike.
    alike: bool,
    /// Their type, or float32 where some are and others bfloat16.
    dtype: DType,
}

impl Parts {
    fn of(context: &PlanContext<'_>) -> Result<Parts, EngineError> {
        let x = &context.input(0)?.spec;
        let count = 1 + context.inputs.len().saturating_sub(FIRST_FURTHER);
        let mut parts = Parts { shape: x.shape.clone(), count, alike: true, dtype: x.dtype };
        for i in [0].into_iter().chain(FIRST_FURTHER..context.inputs.len()) {
            match context.input(i)?.spec.dtype {
                DType::F32 => parts.dtype = DType::F32,
                DType::BF16 => {}
                other => {
                    return Err(EngineError::Unsupported(format!("input {i} is {other}, expected float32")));
                }
            }
        }
        for i in FIRST_FURTHER..context.inputs.len() {
            let further = &context.input(i)?.spec;
            if further.shape != x.shape || x.shape.len() < 3 {
                return Err(EngineError::Invalid(format!(
                    "input {i} of shape {:?} beside an input of shape {:?}",
                    &further.shape[..],
                    &x.shape[..]
                )));
            }
            parts.alike &= further == x;
        }
        if count > MAX_INPUTS {
            return Err(EngineError::Invalid(format!(
                "{count} inputs of a convolution, more than {MAX_INPUTS}"
            )));
        }
        if let Some(channels) = parts.shape.get_mut(1) {
            *channels = channels.saturating_mul(count);
        }
        Ok(parts)
    }

    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// Where so many bytes begin at the end of scratch, aligned as scratch is.
fn reserve(scratch_bytes: &mut usize, bytes: usize) -> usize {
    let start = scratch_bytes.next_multiple_of(64);
    *scratch_bytes = start + bytes;
    start
}

/// Copies of parts that a convolution cannot read where they lie, side by side in channels-last memory.
struct JoinedParts {
    dtype: DType,
    shape: Dims,
    strides: Strides,
    moves: Vec<Move>,
}

impl JoinedParts {
    fn new(context: &PlanContext<'_>, parts: &Parts) -> Result<JoinedParts, EngineError> {
        let strides = channels_last_strides(&parts.shape);
        let specs = [0].into_iter().chain(FIRST_FURTHER..context.inputs.len());
        let specs = specs.filter_map(|i| context.optional(i)).map(|input| &input.spec);
        let mut shape = parts.shape.clone();
        shape[1] /= parts.count;
        let to = TensorSpec { dtype: parts.dtype, shape: shape.clone(), strides: strides.clone() };
        let moves = specs.map(|x| Move::new(x, &to)).collect::<Result<_, _>>()?;
        Ok(JoinedParts { dtype: parts.dtype, shape, strides, moves })
    }

    /// Copies the parts to `to`, which has room for all of them.
    fn run(&self, context: &RunContext<'_, '_>, to: *mut u8) {
        let views = [0].into_iter().chain(FIRST_FURTHER..context.inputs.len());
        let views = views.filter_map(|i| context.inputs.get(i)).flatten();
        for (part, (movement, view)) in self.moves.iter().zip(views).enumerate() {
            let to = to.wrapping_add(part * self.shape[1] * self.dtype.size());
            let (shape, strides) = (self.shape.clone(), self.strides.clone());
            // SAFETY: scratch memory of this step, of which each part has channels of its own.
            let mut to = unsafe { ViewMut::from_raw_parts(self.dtype, shape, strides, to) };
            match movement {
                Move::Copy(copy) => copy.run(view, &mut to, context.pool),
                Move::Cast(cast) => cast.run(&[view], &mut to, context.pool),
            }
        }
    }
}

/// How a part gets into another memory order and, where that differs, type.
enum Move {
    Copy(Box<Copy>),
    Cast(Box<Map<2>>),
}

impl Move {
    fn new(x: &TensorSpec, to: &TensorSpec) -> Result<Move, EngineError> {
        if x.dtype == to.dtype {
            return Ok(Move::Copy(Box::new(Copy::new(&x.shape, &x.strides, &to.strides, x.dtype.size()))));
        }
        let layouts = [layout(to), layout(x)];
        Ok(Move::Cast(Box::new(Map::new(cast(x.dtype, to.dtype), layouts)?)))
    }
}

struct ConvStep {
    plan: Plan,
    parts: usize,
    /// Copies of the parts, where needed, and their place in scratch.
    joined: Option<(JoinedParts, usize)>,
    residual: Residual,
    bias: Bias,
}

/// The pointers of a convolution's inputs and output, as if all of them were float32.
pub(super) fn arguments(
    context: &mut RunContext<'_, '_>,
    bias: &Bias,
    residual: *const f32,
) -> ConvArguments {
    let input = |i: usize| match context.inputs.get(i).and_then(Option::as_ref) {
        Some(view) => view.as_ptr().cast(),
        None => std::ptr::null(),
    };
    ConvArguments {
        x: input(0),
        further: [std::ptr::null(); MAX_INPUTS - 1],
        w: input(1),
        bias: bias.pointer(context.inputs.get(2), context.scratch),
        residual,
        out: context.outputs[0].as_mut_ptr().cast(),
    }
}

impl Step for ConvStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let residual =
            self.residual.pointer(context.inputs.get(RESIDUAL), &mut context.outputs[0], context.pool);
        let mut arguments = arguments(context, &self.bias, residual);
        if let Some((joined, start)) = &self.joined {
            let to = context.scratch[*start..].as_mut_ptr();
            joined.run(context, to);
            arguments.x = to.cast();
        } else {
            for i in 1..self.parts {
                let input = super::planning::input(context.inputs, FIRST_FURTHER + i - 1);
                arguments.further[i - 1] = input.as_ptr().cast();
            }
        }
        // SAFETY: the views are as planned, and of all of them only the residual may share the output's memory.
        unsafe { self.plan.run(&arguments, context.scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.work()
    }

    fn precision(&self) -> &'static str {
        match self.plan {
            Plan::Float32(_) => "float32",
            Plan::Bfloat16(_) => "bfloat16",
        }
    }
}
