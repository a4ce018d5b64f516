//! QuantizedSqueezeExcite: bytes in and out, the small matrices in float32.

use super::channels_last::{ChannelsLast, five_sizes};
use super::parameters::{quantization, requantize};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use crate::ops::Build;
use crate::ops::planning::{expect_dtype, operator, step};
use vedette_integer::pool::{SqueezeExciteArguments, SqueezeExcitePlan};
use vedette_integer::{Quantization, Requantize};
use vedette_tensor::{Activation, DType};

pub(super) const OPERATORS: &[(&str, Build)] = &[("QuantizedSqueezeExcite", squeeze_excite)];

struct Block {
    input: Quantization,
    output: Requantize,
    inner: Option<Activation>,
    gate: Option<Activation>,
    residual: bool,
}

fn squeeze_excite(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let block = Block {
        input: quantization(attributes, "x")?,
        output: requantize(attributes)?,
        inner: attributes.activation("inner")?,
        gate: attributes.activation("gate")?,
        residual: attributes.flag_or("residual", false)?,
    };
    operator(move |context| plan(context, &block))
}

/// The hidden values of weights that fit so many channels.
fn hidden_size(context: &PlanContext<'_>, channels: usize) -> Result<usize, EngineError> {
    for i in 1..5 {
        if let Some(input) = context.optional(i) {
            expect_dtype(input, DType::F32)?;
            let spec = &input.spec;
            if TensorSpec::contiguous(spec.dtype, &spec.shape) != *spec {
                return Err(EngineError::Unsupported(format!("input {i} is a strided view")));
            }
        }
    }
    let (w1, w2) = (&context.input(1)?.spec, &context.input(3)?.spec);
    let hidden = w1.shape.first().copied().unwrap_or(0);
    let sized = |spec: &TensorSpec, rows: usize, columns: usize| {
        rows.checked_mul(columns) == Some(spec.len()) && spec.shape.first() == Some(&rows)
    };
    let biases = [(2, hidden), (4, channels)];
    let fits = sized(w1, hidden, channels)
        && sized(w2, channels, hidden)
        && biases.iter().all(|&(i, len)| context.optional(i).is_none_or(|bias| bias.spec.len() == len));
    if !fits {
        return Err(EngineError::Invalid(format!(
            "squeeze-excite of {channels} channels with weights of shapes {:?} and {:?}",
            w1.shape, w2.shape
        )));
    }
    Ok(hidden)
}

fn plan(context: &PlanContext<'_>, block: &Block) -> Result<Planned, EngineError> {
    expect_dtype(context.input(0)?, DType::U8)?;
    let spec = &context.input(0)?.spec;
    let sizes = five_sizes(&spec.shape)?;
    let hidden = hidden_size(context, sizes[1])?;
    let x = ChannelsLast::new(spec)?;
    let plan = SqueezeExcitePlan::new(
        context.isa,
        context.threads,
        (&sizes, x.strides),
        (block.input, block.output),
        hidden,
        (block.inner, block.gate),
        block.residual,
    );
    let output = TensorSpec::channels_last(DType::U8, &spec.shape);
    let scratch_bytes = x.bytes + plan.scratch_bytes();
    let in_place = if output == *spec { vec![0] } else { Vec::new() };
    let step = step(move |context| {
        let float = |i: usize| match context.inputs.get(i).and_then(Option::as_ref) {
            Some(view) => view.as_ptr_of::<f32>(),
            None => std::ptr::null(),
        };
        let (w1, b1, w2, b2) = (float(1), float(2), float(3), float(4));
        let view = crate::ops::planning::input(context.inputs, 0);
        let (x, scratch) = x.get(view, context.scratch, context.pool);
        let arguments = SqueezeExciteArguments { x, w1, b1, w2, b2, out: context.outputs[0].as_mut_ptr() };
        // SAFETY: the views are as planned; only the input may share the output's memory, in the same order.
        unsafe { plan.run(&arguments, scratch, context.pool) };
    });
    Ok(Planned::Step { outputs: vec![output], in_place, scratch_bytes, step })
}
