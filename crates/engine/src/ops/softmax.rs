//! Softmax and its relatives.

use super::Build;
use super::planning::{axis_of, input, layout, operator, output_like, plan_step, step};
use super::scratch::ScratchPlan;
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use vedette_tensor::movement::Copy;
use vedette_tensor::softmax::{BestClass, Hardmax, Softmax};
use vedette_tensor::{DType, is_dense};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Softmax", |attributes| softmax(attributes, false)),
    ("LogSoftmax", |attributes| softmax(attributes, true)),
    ("Hardmax", hardmax),
    ("BestClass", |_| operator(best_class)),
];

fn softmax(attributes: &Attributes, logarithm: bool) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int_or("axis", -1)?;
    operator(move |context| {
        let spec = &context.input(0)?.spec;
        let output = output_like(spec.dtype, spec);
        let axis = axis_of(axis, spec.shape.len())?;
        let plan = Softmax::new(layout(spec), axis, layout(&output), logarithm, context.isa)
            .map_err(|error| EngineError::Unsupported(error.0))?;
        let in_place = if *spec == output { vec![0] } else { Vec::new() };
        let step = step(move |context| {
            plan.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
        });
        Ok(Planned::Step { outputs: vec![output], in_place, scratch_bytes: 0, step })
    })
}

fn hardmax(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int_or("axis", -1)?;
    operator(move |context| {
        let spec = &context.input(0)?.spec;
        let axis = axis_of(axis, spec.shape.len())?;
        if !is_dense(&spec.shape, &spec.strides) {
            return Err(EngineError::Unsupported("Hardmax of a tensor with gaps".into()));
        }
        let plan = Hardmax::new(layout(spec), axis).map_err(|error| EngineError::Unsupported(error.0))?;
        plan_step(spec.clone(), move |context| {
            plan.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
        })
    })
}

/// Softmax along the last axis, of which only the largest share and its index are asked for.
fn best_class(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let rows = TensorSpec::contiguous(spec.dtype, &spec.shape);
    let plan =
        BestClass::new(layout(&rows), context.isa).map_err(|error| EngineError::Unsupported(error.0))?;
    let outer = &spec.shape[..spec.shape.len() - 1];
    let outputs = vec![TensorSpec::contiguous(DType::F32, outer), TensorSpec::contiguous(DType::I64, outer)];
    let mut scratch = ScratchPlan::default();
    let reordered = match *spec == rows {
        true => None,
        false => {
            let copy = Copy::new(&spec.shape, &spec.strides, &rows.strides, spec.dtype.size());
            Some((copy, scratch.tensor(&rows)?))
        }
    };
    let step = step(move |context| {
        let [shares, indices] = &mut context.outputs[..] else { return };
        let logits = input(context.inputs, 0);
        match &reordered {
            None => plan.run(logits, shares, indices, context.pool),
            Some((copy, rows)) => {
                copy.run(logits, &mut rows.view_mut(context.scratch), context.pool);
                plan.run(&rows.view(context.scratch), shares, indices, context.pool);
            }
        }
    });
    Ok(Planned::Step { outputs, in_place: Vec::new(), scratch_bytes: scratch.bytes(), step })
}
