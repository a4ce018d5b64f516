//! Conv and ConvTranspose.

use super::Build;
use super::packed::Packed;
use super::residual::{Bias, Residual};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, RunContext, Step, TensorSpec, check_size};
use vedette_simd::Isa;
use vedette_tensor::conv::{
    AutoPad, ConvArguments, ConvPlan, ConvShape, ConvWeights, MAX_INPUTS, TransposeAttributes, TransposePlan,
    TransposeShape, TransposeWeights, WindowAttributes,
};
use vedette_tensor::matmul::Epilogue;
use vedette_tensor::movement::Copy;
use vedette_tensor::{DType, Dims, Strides, ViewMut, channels_last_strides};

pub(super) const OPERATORS: &[(&str, Build)] = &[("Conv", conv), ("ConvTranspose", conv_transpose)];

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

fn auto_pad(attributes: &Attributes) -> Result<AutoPad, EngineError> {
    let name = attributes.string_or("auto_pad", "NOTSET")?;
    AutoPad::from_name(name).ok_or_else(|| EngineError::Invalid(format!("auto_pad is `{name}`")))
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

/// Inputs before the further ones that the channels may lie in.
const FIRST_FURTHER: usize = 4;

struct Conv {
    window: WindowAttributes,
    kernel: Option<Vec<i64>>,
    groups: i64,
    epilogue: Epilogue,
    weights: Packed<Isa, ConvWeights>,
}

fn conv(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(Conv {
        window: window(attributes)?,
        kernel: attributes.ints("kernel_shape")?,
        groups: attributes.int_or("group", 1)?,
        epilogue: Epilogue { activation: attributes.activation("activation")? },
        weights: Packed::new(),
    }))
}

impl Operator for Conv {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        require_f32(context, 0..context.inputs.len())?;
        let (x, w) = (&context.input(0)?.spec, context.input(1)?);
        check_kernel(&self.kernel, &w.spec.shape)?;
        let parts = Parts::of(context)?;
        let shape = ConvShape::new(&parts.shape, &w.spec.shape, self.groups, &self.window)?;
        let y = shape.output();
        check_size(DType::F32, &y, context.memory_limit)?;
        let weights = if w.constant {
            self.weights.get(context.isa, || {
                let pack = |view| {
                    let weights = ConvWeights::new(context.isa, &shape, view);
                    let bytes = weights.bytes();
                    (weights, bytes)
                };
                Ok::<_, EngineError>(w.value.as_ref().map(pack))
            })?
        } else {
            None
        };
        let output = TensorSpec::channels_last(DType::F32, &y);
        let residual = Residual::new(context.optional(3), &output)?;
        let plan = |strides: &[isize]| {
            let (isa, threads, weights) = (context.isa, context.threads, weights.clone());
            ConvPlan::new(isa, threads, shape.clone(), strides, &w.spec.strides, weights, self.epilogue)
        };
        let (plan, joined) = match plan(&x.strides).with_inputs(parts.count) {
            Some(plan) if parts.alike => (plan, None),
            _ if parts.count == 1 => (plan(&x.strides), None),
            _ => {
                check_size(DType::F32, &parts.shape, context.memory_limit)?;
                let joined = JoinedParts::new(context, &parts);
                (plan(&channels_last_strides(&parts.shape)), Some(joined))
            }
        };
        let mut scratch_bytes = plan.scratch_bytes();
        let joined = joined.map(|joined| (joined, reserve(&mut scratch_bytes, parts.bytes())));
        let bias = Bias::new(context.optional(2), y[1], &mut scratch_bytes)?;
        Ok(Planned::Step {
            in_place: if residual.is_in_place() { vec![3] } else { vec![] },
            scratch_bytes,
            outputs: vec![output],
            step: Box::new(ConvStep { plan, parts: parts.count, joined, residual, bias }),
        })
    }

    fn released_inputs(&self) -> &[usize] {
        if self.weights.is_made() { &[1] } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }
}

/// The input's channels, in one tensor or, as inputs 0 and 4 and on, in several of equal shapes.
struct Parts {
    /// Shape of them all together.
    shape: Dims,
    count: usize,
    /// Whether they lie alike.
    alike: bool,
}

impl Parts {
    fn of(context: &PlanContext<'_>) -> Result<Parts, EngineError> {
        let x = &context.input(0)?.spec;
        let count = 1 + context.inputs.len().saturating_sub(FIRST_FURTHER);
        let mut parts = Parts { shape: x.shape.clone(), count, alike: true };
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
        self.shape.iter().product::<usize>() * size_of::<f32>()
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
    shape: Dims,
    strides: Strides,
    copies: Vec<Copy>,
}

impl JoinedParts {
    fn new(context: &PlanContext<'_>, parts: &Parts) -> JoinedParts {
        let strides = channels_last_strides(&parts.shape);
        let specs = [0].into_iter().chain(FIRST_FURTHER..context.inputs.len());
        let specs = specs.filter_map(|i| context.optional(i)).map(|input| &input.spec);
        let mut shape = parts.shape.clone();
        shape[1] /= parts.count;
        let copies = specs.map(|x| Copy::new(&x.shape, &x.strides, &strides, size_of::<f32>())).collect();
        JoinedParts { shape, strides, copies }
    }

    /// Copies the parts to `to`, which has room for all of them.
    fn run(&self, context: &RunContext<'_, '_>, to: *mut u8) {
        let views = [0].into_iter().chain(FIRST_FURTHER..context.inputs.len());
        let views = views.filter_map(|i| context.inputs.get(i)).flatten();
        for (part, (copy, view)) in self.copies.iter().zip(views).enumerate() {
            let to = to.wrapping_add(part * self.shape[1] * size_of::<f32>());
            let (shape, strides) = (self.shape.clone(), self.strides.clone());
            // SAFETY: scratch memory of this step, of which each part has channels of its own.
            let mut to = unsafe { ViewMut::from_raw_parts(DType::F32, shape, strides, to) };
            copy.run(view, &mut to, context.pool);
        }
    }
}

struct ConvStep {
    plan: ConvPlan,
    parts: usize,
    /// Copies of the parts, where needed, and their place in scratch.
    joined: Option<(JoinedParts, usize)>,
    residual: Residual,
    bias: Bias,
}

/// The pointers of a convolution's inputs and output.
fn arguments(context: &mut RunContext<'_, '_>, bias: &Bias, residual: *const f32) -> ConvArguments {
    let input = |i: usize| match context.inputs.get(i).and_then(Option::as_ref) {
        Some(view) => view.as_ptr_of::<f32>(),
        None => std::ptr::null(),
    };
    ConvArguments {
        x: input(0),
        further: [std::ptr::null(); MAX_INPUTS - 1],
        w: input(1),
        bias: bias.pointer(context.inputs.get(2), context.scratch),
        residual,
        out: context.outputs[0].as_mut_ptr_of::<f32>(),
    }
}

impl Step for ConvStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let residual = self.residual.pointer(context.inputs.get(3), &mut context.outputs[0], context.pool);
        let mut arguments = arguments(context, &self.bias, residual);
        if let Some((joined, start)) = &self.joined {
            let to = context.scratch[*start..].as_mut_ptr();
            joined.run(context, to);
            arguments.x = to.cast();
        } else {
            for i in 1..self.parts {
                arguments.further[i - 1] =
                    super::planning::input(context.inputs, FIRST_FURTHER + i - 1).as_ptr_of();
            }
        }
        // SAFETY: the views are as planned, and of all of them only the residual may share the output's memory.
        unsafe { self.plan.run(&arguments, context.scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.shape().work()
    }
}

struct ConvTranspose {
    attributes: TransposeAttributes,
    kernel: Option<Vec<i64>>,
    groups: i64,
    epilogue: Epilogue,
    weights: Packed<(Isa, Vec<usize>), TransposeWeights>,
}

/// The window attributes of a transposed convolution.
pub(super) fn transpose_attributes(attributes: &Attributes) -> Result<TransposeAttributes, EngineError> {
    let ints = |name: &str| Ok::<_, EngineError>(attributes.ints(name)?.unwrap_or_default());
    Ok(TransposeAttributes {
        strides: ints("strides")?,
        dilations: ints("dilations")?,
        pads: ints("pads")?,
        output_padding: ints("output_padding")?,
        output_shape: ints("output_shape")?,
        auto_pad: auto_pad(attributes)?,
    })
}

fn conv_transpose(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(ConvTranspose {
        attributes: transpose_attributes(attributes)?,
        kernel: attributes.ints("kernel_shape")?,
        groups: attributes.int_or("group", 1)?,
        epilogue: Epilogue { activation: attributes.activation("activation")? },
        weights: Packed::new(),
    }))
}

impl Operator for ConvTranspose {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        require_f32(context, 0..3)?;
        let (x, w) = (&context.input(0)?.spec, context.input(1)?);
        check_kernel(&self.kernel, &w.spec.shape)?;
        let shape = TransposeShape::new(&x.shape, &w.spec.shape, self.groups, &self.attributes)?;
        let y = shape.output();
        check_size(DType::F32, &y, context.memory_limit)?;
        let layout = || TransposeWeights::layout(context.isa, &shape, &w.spec.strides);
        let packed = if w.constant {
            self.weights.get((context.isa, shape.packing_key()), || {
                Ok::<_, EngineError>(w.value.as_ref().map(|view| {
                    // SAFETY: the view has the shape and strides of the layout.
                    let weights = unsafe { layout().pack(view.as_ptr_of::<f32>()) };
                    let bytes = weights.bytes();
                    (weights, bytes)
                }))
            })?
        } else {
            None
        };
        let weights = packed.unwrap_or_else(|| layout().into());
        let plan = TransposePlan::new(context.threads, shape, &x.strides, weights, self.epilogue);
        let mut scratch_bytes = plan.scratch_bytes();
        let bias = Bias::new(context.optional(2), y[1], &mut scratch_bytes)?;
        Ok(Planned::Step {
            in_place: vec![],
            scratch_bytes,
            outputs: vec![TensorSpec::channels_last(DType::F32, &y)],
            step: Box::new(ConvTransposeStep { plan, bias }),
        })
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }
}

struct ConvTransposeStep {
    plan: TransposePlan,
    bias: Bias,
}

impl Step for ConvTransposeStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let arguments = arguments(context, &self.bias, std::ptr::null());
        // SAFETY: the views are as planned and the output shares no memory.
        unsafe { self.plan.run(&arguments, context.scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.shape().work()
    }
}
