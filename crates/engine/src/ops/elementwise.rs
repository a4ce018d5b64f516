//! Elementwise operators with broadcasting.

use super::Build;
use super::planning::{
    elementwise, expect_dtype, input, invalid, known_scalar, layout, no_kernel, one_of, output_like,
    output_strides, plan_map, plan_view, step,
};
use super::scratch::ScratchPlan;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use vedette_tensor::elementwise::{BinaryOp, Map, UnaryOp, binary, cast, clip, is_inf, power, select, unary};
use vedette_tensor::{DType, broadcast_shape};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Abs", |_| unary_operator("Abs", UnaryOp::Abs)),
    ("Neg", |_| unary_operator("Neg", UnaryOp::Neg)),
    ("Sign", |_| unary_operator("Sign", UnaryOp::Sign)),
    ("Floor", |_| unary_operator("Floor", UnaryOp::Floor)),
    ("Ceil", |_| unary_operator("Ceil", UnaryOp::Ceil)),
    ("Round", |_| unary_operator("Round", UnaryOp::Round)),
    ("Sqrt", |_| unary_operator("Sqrt", UnaryOp::Sqrt)),
    ("Reciprocal", |_| unary_operator("Reciprocal", UnaryOp::Reciprocal)),
    ("Exp", |_| unary_operator("Exp", UnaryOp::Exp)),
    ("Log", |_| unary_operator("Log", UnaryOp::Log)),
    ("Sin", |_| unary_operator("Sin", UnaryOp::Sin)),
    ("Cos", |_| unary_operator("Cos", UnaryOp::Cos)),
    ("Tan", |_| unary_operator("Tan", UnaryOp::Tan)),
    ("Asin", |_| unary_operator("Asin", UnaryOp::Asin)),
    ("Acos", |_| unary_operator("Acos", UnaryOp::Acos)),
    ("Atan", |_| unary_operator("Atan", UnaryOp::Atan)),
    ("Sinh", |_| unary_operator("Sinh", UnaryOp::Sinh)),
    ("Cosh", |_| unary_operator("Cosh", UnaryOp::Cosh)),
    ("Asinh", |_| unary_operator("Asinh", UnaryOp::Asinh)),
    ("Acosh", |_| unary_operator("Acosh", UnaryOp::Acosh)),
    ("Atanh", |_| unary_operator("Atanh", UnaryOp::Atanh)),
    ("Not", |_| unary_operator("Not", UnaryOp::Not)),
    ("BitwiseNot", |_| unary_operator("BitwiseNot", UnaryOp::BitwiseNot)),
    ("IsNaN", |_| unary_operator("IsNaN", UnaryOp::IsNaN)),
    ("IsInf", |attributes| {
        let negative = attributes.flag_or("detect_negative", true)?;
        let positive = attributes.flag_or("detect_positive", true)?;
        elementwise(move |context| {
            let dtype = context.input(0)?.spec.dtype;
            let kernel = is_inf(dtype, negative, positive).ok_or_else(|| no_kernel("IsInf", dtype))?;
            plan_map(context, kernel, [0, 0])
        })
    }),
    ("Add", |_| binary_operator("Add", BinaryOp::Add)),
    ("Sub", |_| binary_operator("Sub", BinaryOp::Sub)),
    ("Mul", |_| binary_operator("Mul", BinaryOp::Mul)),
    ("Div", |_| binary_operator("Div", BinaryOp::Div)),
    ("Mod", |attributes| match attributes.flag_or("fmod", false)? {
        true => binary_operator("Mod", BinaryOp::Fmod),
        false => binary_operator("Mod", BinaryOp::Modulo),
    }),
    ("Pow", |_| elementwise(plan_pow)),
    ("PRelu", |_| binary_operator("PRelu", BinaryOp::PRelu)),
    ("Equal", |_| binary_operator("Equal", BinaryOp::Equal)),
    ("Less", |_| binary_operator("Less", BinaryOp::Less)),
    ("LessOrEqual", |_| binary_operator("LessOrEqual", BinaryOp::LessOrEqual)),
    ("Greater", |_| binary_operator("Greater", BinaryOp::Greater)),
    ("GreaterOrEqual", |_| binary_operator("GreaterOrEqual", BinaryOp::GreaterOrEqual)),
    ("And", |_| binary_operator("And", BinaryOp::And)),
    ("Or", |_| binary_operator("Or", BinaryOp::Or)),
    ("Xor", |_| binary_operator("Xor", BinaryOp::Xor)),
    ("BitwiseAnd", |_| binary_operator("BitwiseAnd", BinaryOp::BitwiseAnd)),
    ("BitwiseOr", |_| binary_operator("BitwiseOr", BinaryOp::BitwiseOr)),
    ("BitwiseXor", |_| binary_operator("BitwiseXor", BinaryOp::BitwiseXor)),
    ("BitShift", |attributes| {
        let choices = [("LEFT", BinaryOp::ShiftLeft), ("RIGHT", BinaryOp::ShiftRight)];
        binary_operator("BitShift", one_of(attributes, "direction", "", &choices)?)
    }),
    ("Min", |_| binary_operator("Min", BinaryOp::Min)),
    ("Max", |_| binary_operator("Max", BinaryOp::Max)),
    ("Clip", |_| elementwise(plan_clip)),
    ("Where", |_| {
        elementwise(|context| {
            expect_dtype(context.input(0)?, DType::Bool)?;
            let dtype = context.input(1)?.spec.dtype;
            plan_map(context, select(dtype), [0, 0, 1, 2])
        })
    }),
    ("Cast", |attributes| {
        let to = attributes.dtype("to")?;
        elementwise(move |context| plan_cast(context, to))
    }),
];

fn unary_operator(name: &'static str, op: UnaryOp) -> Result<Box<dyn Operator>, EngineError> {
    elementwise(move |context| {
        let dtype = context.input(0)?.spec.dtype;
        let kernel = unary(op, dtype, context.isa).ok_or_else(|| no_kernel(name, dtype))?;
        plan_map(context, kernel, [0, 0])
    })
}

fn binary_operator(name: &'static str, op: BinaryOp) -> Result<Box<dyn Operator>, EngineError> {
    elementwise(move |context| {
        let dtype = context.input(0)?.spec.dtype;
        let kernel = binary(op, dtype, context.isa).ok_or_else(|| no_kernel(name, dtype))?;
        plan_map(context, kernel, [0, 0, 1])
    })
}

fn plan_cast(context: &PlanContext<'_>, to: DType) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    if spec.dtype == to {
        return plan_view(spec.clone(), 0);
    }
    plan_map(context, cast(spec.dtype, to), [0, 0])
}

/// The base has the result's type; an exponent of another type is converted first.
fn plan_pow(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let (base, exponent) = (context.input(0)?, context.input(1)?);
    let (dtype, other) = (base.spec.dtype, exponent.spec.dtype);
    if dtype == DType::F32
        && exponent.spec.shape.iter().all(|&dim| dim == 1)
        && exponent.spec.shape.len() <= base.spec.shape.len()
        && other == DType::F32
        && let Some(fixed) = known_scalar::<f32>(exponent)?
    {
        return plan_map(context, power(fixed, context.isa), [0, 0]);
    }
    if dtype == other {
        let kernel = binary(BinaryOp::Pow, dtype, context.isa).ok_or_else(|| no_kernel("Pow", dtype))?;
        return plan_map(context, kernel, [0, 0, 1]);
    }
    // Integers to a fractional power, and floats to an integral one, meet in f64.
    let wide = |dtype: DType| if dtype.is_float() || other.is_float() { DType::F64 } else { DType::I64 };
    let middle = wide(dtype);
    let shape = broadcast_shape(&base.spec.shape, &exponent.spec.shape)?;
    let output = TensorSpec { dtype, strides: output_strides(&shape, &[&base.spec, &exponent.spec]), shape };
    let spec = |dtype: DType, like: &TensorSpec| output_like(dtype, like);
    let (a, b) = (spec(middle, &base.spec), spec(middle, &exponent.spec));
    let power = TensorSpec { dtype: middle, ..output.clone() };
    let kernel = binary(BinaryOp::Pow, middle, context.isa).ok_or_else(|| no_kernel("Pow", middle))?;
    let widen_a = Map::new(cast(dtype, middle), [layout(&a), layout(&base.spec)])?;
    let widen_b = Map::new(cast(other, middle), [layout(&b), layout(&exponent.spec)])?;
    let raise = Map::new(kernel, [layout(&power), layout(&a), layout(&b)])?;
    let narrow = Map::new(cast(middle, dtype), [layout(&output), layout(&power)])?;
    let mut scratch = ScratchPlan::default();
    let (a, b, power) = (scratch.tensor(&a)?, scratch.tensor(&b)?, scratch.tensor(&power)?);
    let scratch_bytes = scratch.bytes();
    let step = step(move |context| {
        let (base, exponent) = (input(context.inputs, 0), input(context.inputs, 1));
        widen_a.run(&[base], &mut a.view_mut(context.scratch), context.pool);
        widen_b.run(&[exponent], &mut b.view_mut(context.scratch), context.pool);
        let (mut written, [a, b]) = power.view_mut_beside(context.scratch, [&a, &b]);
        raise.run(&[&a, &b], &mut written, context.pool);
        narrow.run(&[&written.as_view()], &mut context.outputs[0], context.pool);
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
}

/// Bounds may be absent, and need not be known.
fn plan_clip(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let dtype = spec.dtype;
    for bound in [1, 2] {
        if let Some(bound) = context.optional(bound)
            && (bound.spec.shape.iter().any(|&dim| dim != 1) || bound.spec.shape.len() > spec.shape.len())
        {
            return invalid(format!("a bound of Clip is one element, got shape {:?}", &bound.spec.shape[..]));
        }
    }
    match (context.optional(1), context.optional(2)) {
        (None, None) => plan_view(spec.clone(), 0),
        (Some(_), Some(_)) => {
            plan_map(context, clip(dtype).ok_or_else(|| no_kernel("Clip", dtype))?, [0, 0, 1, 2])
        }
        (minimum, _) => {
            let (op, bound) = if minimum.is_some() { (BinaryOp::Max, 1) } else { (BinaryOp::Min, 2) };
            let kernel = binary(op, dtype, context.isa).ok_or_else(|| no_kernel("Clip", dtype))?;
            plan_map(context, kernel, [0, 0, bound])
        }
    }
}
