//! QuantizedAveragePool, QuantizedGlobalAveragePool, and MaxPool of bytes and bfloat16.

use super::channels_last::{ChannelsLast, five_sizes};
use super::parameters::{optional_quantization, quantization, requantize};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use crate::ops::Build;
use crate::ops::conv::window;
use crate::ops::planning::{check, expect_dtype, input, invalid, operator, operator_by_rows, step};
use crate::ops::pool::{pool_rows, pool_shape};
use vedette_integer::pool::{GlobalAveragePlan, Mean, MeanOutput, PoolPlan, WindowReduction};
use vedette_tensor::DType;
use vedette_tensor::pool::PoolShape;

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("QuantizedAveragePool", average_pool),
    ("QuantizedGlobalAveragePool", |attributes| {
        let mean = mean(attributes)?;
        operator(move |context| plan_global(context, mean))
    }),
];

fn mean(attributes: &Attributes) -> Result<Mean, EngineError> {
    let output = match optional_quantization(attributes, "y")? {
        None => MeanOutput::Real,
        Some(_) => MeanOutput::Bytes(requantize(attributes)?),
    };
    Ok(Mean { x: quantization(attributes, "x")?, output })
}

fn dtype_of(mean: &Mean) -> DType {
    match mean.output {
        MeanOutput::Real => DType::F32,
        MeanOutput::Bytes(_) => DType::U8,
    }
}

fn average_pool(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let kernel = attributes.ints("kernel_shape")?.unwrap_or_default();
    let sizes: Option<Vec<usize>> = kernel.iter().map(|&size| usize::try_from(size).ok()).collect();
    let Some(kernel) = sizes else { return invalid(format!("kernel_shape is {kernel:?}")) };
    let window = window(attributes)?;
    let include_pad = attributes.flag_or("count_include_pad", false)?;
    let mean = mean(attributes)?;
    let by_rows = (kernel.clone(), window.clone());
    operator_by_rows(
        move |context| {
            expect_dtype(context.input(0)?, DType::U8)?;
            let shape = pool_shape(context, &kernel, &window)?;
            plan_window(context, shape, WindowReduction::Average { mean, include_pad }, dtype_of(&mean))
        },
        move |context| pool_rows(context, &by_rows.0, &by_rows.1),
    )
}

/// Plans the pooling of windows.
fn plan_window(
    context: &PlanContext<'_>,
    shape: PoolShape,
    reduction: WindowReduction,
    dtype: DType,
) -> Result<Planned, EngineError> {
    let output = TensorSpec::channels_last(dtype, &shape.output());
    check(context, &output)?;
    let x = ChannelsLast::new(&context.input(0)?.spec)?;
    let plan = PoolPlan::new(context.isa, context.threads, shape, reduction, x.strides)
        .map_err(|error| EngineError::Unsupported(error.0))?;
    let scratch_bytes = x.bytes + plan.scratch_bytes();
    let step = step(move |context| {
        let (x, scratch) = x.get(input(context.inputs, 0), context.scratch, context.pool);
        // SAFETY: input, output and scratch memory are as planned.
        unsafe { plan.run(x, context.outputs[0].as_mut_ptr(), scratch, context.pool) };
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
}

/// MaxPool of u8, i8 or bfloat16 without indices.
pub(in crate::ops) fn max_pool(context: &PlanContext<'_>, shape: PoolShape) -> Result<Planned, EngineError> {
    match context.input(0)?.spec.dtype {
        DType::I8 => plan_window(context, shape, WindowReduction::MaxI8, DType::I8),
        DType::BF16 => plan_window(context, shape, WindowReduction::MaxBf16, DType::BF16),
        dtype => plan_window(context, shape, WindowReduction::MaxU8, dtype),
    }
}

fn plan_global(context: &PlanContext<'_>, mean: Mean) -> Result<Planned, EngineError> {
    expect_dtype(context.input(0)?, DType::U8)?;
    let spec = &context.input(0)?.spec;
    let sizes = five_sizes(&spec.shape)?;
    let mut shape = spec.shape.clone();
    shape[2..].fill(1);
    let output = TensorSpec::contiguous(dtype_of(&mean), &shape);
    check(context, &output)?;
    let x = ChannelsLast::new(spec)?;
    let plan = GlobalAveragePlan::new(context.isa, context.threads, &sizes, x.strides, mean);
    let scratch_bytes = x.bytes + plan.scratch_bytes();
    let step = step(move |context| {
        let (x, scratch) = x.get(input(context.inputs, 0), context.scratch, context.pool);
        // SAFETY: input, output and scratch memory are as planned.
        unsafe { plan.run(x, context.outputs[0].as_mut_ptr(), scratch, context.pool) };
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
}
