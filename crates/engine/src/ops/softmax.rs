//! Softmax and its relatives.

use super::Build;
use super::planning::{axis_of, input, layout, operator, output_like, plan_step, step};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, Planned};
use vedette_tensor::is_dense;
use vedette_tensor::softmax::{Hardmax, Softmax};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Softmax", |attributes| softmax(attributes, false)),
    ("LogSoftmax", |attributes| softmax(attributes, true)),
    ("Hardmax", hardmax),
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
