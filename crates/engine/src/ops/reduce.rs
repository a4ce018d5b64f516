//! Reductions, arguments of extremes, running sums.

use super::Build;
use super::planning::{
    Integers, axes_of, axis_of, input, invalid, known_integers, layout, operator, optional_integers,
    output_like, plan_step, plan_view, relaid,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use vedette_tensor::movement::dense_strides_like;
use vedette_tensor::reduce::{ArgReduce, Cumulative, CumulativeOp, Reduce, ReduceOp};
use vedette_tensor::{DType, Dims, Strides};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("ReduceSum", |attributes| reduce(attributes, ReduceOp::Sum)),
    ("ReduceMean", |attributes| reduce(attributes, ReduceOp::Mean)),
    ("ReduceMin", |attributes| reduce(attributes, ReduceOp::Min)),
    ("ReduceMax", |attributes| reduce(attributes, ReduceOp::Max)),
    ("ReduceProd", |attributes| reduce(attributes, ReduceOp::Prod)),
    ("ReduceL1", |attributes| reduce(attributes, ReduceOp::L1)),
    ("ReduceL2", |attributes| reduce(attributes, ReduceOp::L2)),
    ("ReduceSumSquare", |attributes| reduce(attributes, ReduceOp::SumSquare)),
    ("ReduceLogSum", |attributes| reduce(attributes, ReduceOp::LogSum)),
    ("ReduceLogSumExp", |attributes| reduce(attributes, ReduceOp::LogSumExp)),
    ("ArgMax", |attributes| arg_reduce(attributes, true)),
    ("ArgMin", |attributes| arg_reduce(attributes, false)),
    ("CumSum", |attributes| cumulative(attributes, CumulativeOp::Sum)),
    ("CumProd", |attributes| cumulative(attributes, CumulativeOp::Product)),
];

/// The output of a reduction: with 1 for every axis reduced, and as the node gives it.
pub(super) fn reduced(
    spec: &TensorSpec,
    dtype: DType,
    axes: &[usize],
    keep: bool,
) -> (TensorSpec, TensorSpec) {
    let rank = spec.shape.len();
    let shape: Dims = (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { spec.shape[axis] }).collect();
    let strides = dense_strides_like(&shape, &spec.strides);
    let full = TensorSpec { dtype, shape, strides };
    if keep {
        return (full.clone(), full);
    }
    let left = (0..rank).filter(|axis| !axes.contains(axis));
    let (shape, strides): (Dims, Strides) = left.map(|axis| (full.shape[axis], full.strides[axis])).unzip();
    (full, TensorSpec { dtype, shape, strides })
}

fn reduce(attributes: &Attributes, op: ReduceOp) -> Result<Box<dyn Operator>, EngineError> {
    let keep = attributes.flag_or("keepdims", true)?;
    let noop = attributes.flag_or("noop_with_empty_axes", false)?;
    operator(move |context| {
        let spec = &context.input(0)?.spec;
        let rank = spec.shape.len();
        let given = match optional_integers(context, 1)? {
            Integers::Unknown => return Ok(Planned::NeedsValue(1)),
            Integers::Known(axes) => axes,
            Integers::Absent => Vec::new(),
        };
        let axes: Dims = match (given.is_empty(), noop) {
            (true, true) => return plan_view(spec.clone(), 0),
            (true, false) => (0..rank).collect(),
            (false, _) => axes_of(&given, rank)?,
        };
        let (full, output) = reduced(spec, spec.dtype, &axes, keep);
        let plan = Reduce::new(op, layout(spec), &axes, layout(&full), context.isa)
            .map_err(|error| EngineError::Unsupported(error.0))?;
        plan_step(output, move |context| {
            let mut output = relaid(&mut context.outputs[0], &full.shape, &full.strides);
            plan.run(input(context.inputs, 0), None, &mut output, context.pool);
        })
    })
}

fn arg_reduce(attributes: &Attributes, largest: bool) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int_or("axis", 0)?;
    let keep = attributes.flag_or("keepdims", true)?;
    let last = attributes.flag_or("select_last_index", false)?;
    operator(move |context| {
        let spec = &context.input(0)?.spec;
        let axis = axis_of(axis, spec.shape.len())?;
        let (full, output) = reduced(spec, DType::I64, &[axis], keep);
        let plan = ArgReduce::new(layout(spec), axis, layout(&full), largest, last)?;
        plan_step(output, move |context| {
            let mut output = relaid(&mut context.outputs[0], &full.shape, &full.strides);
            plan.run(input(context.inputs, 0), &mut output, context.pool);
        })
    })
}

fn cumulative(attributes: &Attributes, op: CumulativeOp) -> Result<Box<dyn Operator>, EngineError> {
    let exclusive = attributes.flag_or("exclusive", false)?;
    let reverse = attributes.flag_or("reverse", false)?;
    operator(move |context| plan_cumulative(context, op, exclusive, reverse))
}

fn plan_cumulative(
    context: &PlanContext<'_>,
    op: CumulativeOp,
    exclusive: bool,
    reverse: bool,
) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let Some(axis) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
    let [axis] = axis[..] else {
        return invalid(format!("the axis of a running sum is {axis:?}, expected one"));
    };
    let axis = axis_of(axis, spec.shape.len())?;
    let output = output_like(spec.dtype, spec);
    let plan = Cumulative::new(op, layout(spec), axis, layout(&output), exclusive, reverse)?;
    plan_step(output, move |context| {
        plan.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
    })
}
