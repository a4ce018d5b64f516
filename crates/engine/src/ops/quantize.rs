//! QuantizeLinear and DequantizeLinear, by tensor and by channel.

use super::Build;
use super::planning::{
    axis_of, expect_dtype, input, invalid, layout, no_kernel, operator, output_like, step,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, PlanContext, Planned, TensorSpec};
use vedette_tensor::elementwise::{Kernel, Map, dequantize, quantize};
use vedette_tensor::{DType, Dims, Strides, Tensor, View};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("QuantizeLinear", |attributes| {
        let axis = checked_axis(attributes)?;
        operator(move |context| {
            expect_dtype(context.input(0)?, DType::F32)?;
            let to = context.optional(2).map_or(DType::U8, |zero_point| zero_point.spec.dtype);
            let kernel = quantize(to).ok_or_else(|| no_kernel("QuantizeLinear", to))?;
            plan(context, axis, kernel, to)
        })
    }),
    ("DequantizeLinear", |attributes| {
        let axis = checked_axis(attributes)?;
        operator(move |context| {
            let from = context.input(0)?.spec.dtype;
            let kernel = dequantize(from).ok_or_else(|| no_kernel("DequantizeLinear", from))?;
            plan(context, axis, kernel, from)
        })
    }),
];

fn checked_axis(attributes: &Attributes) -> Result<i64, EngineError> {
    let (blocks, dtype) = (attributes.int_or("block_size", 0)?, attributes.has("output_dtype"));
    let plain = !dtype || attributes.int("output_dtype").is_ok_and(|code| code == 0);
    if blocks != 0 || !plain {
        return Err(EngineError::Unsupported("quantization by blocks, or to a type given apart".into()));
    }
    attributes.int_or("axis", 1)
}

/// The shape and strides of a parameter seen from the tensor: one value, or one for each index of an axis.
fn parameter(context: &PlanContext<'_>, i: usize, axis: i64) -> Result<(Dims, Strides), EngineError> {
    let data = &context.input(0)?.spec;
    let spec = &context.input(i)?.spec;
    if spec.len() == 1 {
        return Ok((Dims::new(), Strides::new()));
    }
    let axis = axis_of(axis, data.shape.len())?;
    if spec.shape[..] != [data.shape[axis]] {
        let (found, size) = (&spec.shape[..], data.shape[axis]);
        return invalid(format!("input {i} has shape {found:?}, expected one value or {size}"));
    }
    let mut shape = Dims::from_elem(1, data.shape.len() - axis);
    let mut strides = Strides::from_elem(0, data.shape.len() - axis);
    (shape[0], strides[0]) = (data.shape[axis], spec.strides[0]);
    Ok((shape, strides))
}

fn plan(
    context: &PlanContext<'_>,
    axis: i64,
    kernel: Kernel<4>,
    integer: DType,
) -> Result<Planned, EngineError> {
    expect_dtype(context.input(1)?, DType::F32)?;
    let spec = &context.input(0)?.spec;
    let output = output_like(kernel.output_dtype(), spec);
    let scale = parameter(context, 1, axis)?;
    let zero_point = match context.optional(2) {
        Some(zero_point) => {
            expect_dtype(zero_point, integer)?;
            Some(parameter(context, 2, axis)?)
        }
        None => None,
    };
    let zero = Tensor::zeros(integer, &[]).map_err(|error| EngineError::Memory(error.0))?;
    let seen = |dtype, (shape, strides): &(Dims, Strides)| TensorSpec {
        dtype,
        shape: shape.clone(),
        strides: strides.clone(),
    };
    let none = (Dims::new(), Strides::new());
    let (scales, zeros) = (seen(DType::F32, &scale), seen(integer, zero_point.as_ref().unwrap_or(&none)));
    let map = Map::new(kernel, [layout(&output), layout(spec), layout(&scales), layout(&zeros)])?;
    let step = step(move |context| {
        let view = |i: usize, (shape, strides): &(Dims, Strides)| {
            // SAFETY: the parameter's own elements, seen along one axis of several.
            unsafe { input(context.inputs, i).reinterpret(shape.clone(), strides.clone(), 0) }
        };
        let scale: View<'_> = view(1, &scale);
        let zero_point = zero_point.as_ref().map_or_else(|| zero.view(), |layout| view(2, layout));
        map.run(&[input(context.inputs, 0), &scale, &zero_point], &mut context.outputs[0], context.pool);
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes: 0, step })
}
