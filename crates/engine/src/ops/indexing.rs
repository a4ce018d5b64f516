//! Operators that pick and place elements by indices.

use super::Build;
use super::planning::{
    axis_of, expect_dtype, input, invalid, layout, one_of, operator, output_like, plan_step, step,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, PlanContext, PlanInput, Planned, TensorSpec};
use vedette_tensor::indexing::{Gather, Scatter, ScatterReduction, find_out_of_range};
use vedette_tensor::movement::copy;
use vedette_tensor::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Gather", |attributes| {
        let axis = attributes.int_or("axis", 0)?;
        operator(move |context| {
            let data = &context.input(0)?.spec;
            let axis = axis_of(axis, data.shape.len())?;
            check_indices(context.input(1)?, data.shape[axis])?;
            plan_gather(Gather::slices(layout(data), axis, layout(&context.input(1)?.spec))?, data)
        })
    }),
    ("GatherElements", |attributes| {
        let axis = attributes.int_or("axis", 0)?;
        operator(move |context| {
            let data = &context.input(0)?.spec;
            let axis = axis_of(axis, data.shape.len())?;
            check_indices(context.input(1)?, data.shape[axis])?;
            plan_gather(Gather::elements(layout(data), axis, layout(&context.input(1)?.spec))?, data)
        })
    }),
    ("GatherND", |attributes| {
        let batch_dims = usize::try_from(attributes.int_or("batch_dims", 0)?).unwrap_or(usize::MAX);
        operator(move |context| {
            let data = &context.input(0)?.spec;
            plan_gather(Gather::tuples(layout(data), layout(&context.input(1)?.spec), batch_dims)?, data)
        })
    }),
    ("ScatterElements", |attributes| {
        let axis = attributes.int_or("axis", 0)?;
        let reduction = reduction(attributes)?;
        operator(move |context| {
            let data = &context.input(0)?.spec;
            let axis = axis_of(axis, data.shape.len())?;
            check_indices(context.input(1)?, data.shape[axis])?;
            plan_scatter(context, |output, indices, updates| {
                Ok(Scatter::elements(layout(output), axis, layout(indices), layout(updates), reduction)?)
            })
        })
    }),
    ("ScatterND", |attributes| {
        let reduction = reduction(attributes)?;
        operator(move |context| {
            plan_scatter(context, |output, indices, updates| {
                Ok(Scatter::tuples(layout(output), layout(indices), layout(updates), reduction)?)
            })
        })
    }),
    ("NonZero", |_| operator(plan_non_zero)),
    ("Compress", |attributes| {
        let axis = if attributes.has("axis") { Some(attributes.int("axis")?) } else { None };
        operator(move |context| plan_compress(context, axis))
    }),
];

/// Refuses known indices that are out of range; unknown ones are brought into range when they are used.
fn check_indices(indices: &PlanInput<'_>, dim: usize) -> Result<(), EngineError> {
    match indices.value.as_ref().and_then(|view| find_out_of_range(view, dim)) {
        None => Ok(()),
        Some(index) => invalid(format!("index {index} is out of range for an axis of {dim} elements")),
    }
}

fn plan_gather(gather: Gather, data: &TensorSpec) -> Result<Planned, EngineError> {
    let output = TensorSpec::contiguous(data.dtype, gather.output_shape());
    plan_step(output, move |context| {
        let (data, indices) = (input(context.inputs, 0), input(context.inputs, 1));
        gather.run(data, indices, &mut context.outputs[0], context.pool);
    })
}

fn reduction(attributes: &Attributes) -> Result<ScatterReduction, EngineError> {
    let choices = [
        ("none", ScatterReduction::Replace),
        ("add", ScatterReduction::Add),
        ("mul", ScatterReduction::Mul),
        ("min", ScatterReduction::Min),
        ("max", ScatterReduction::Max),
    ];
    one_of(attributes, "reduction", "none", &choices)
}

fn plan_scatter(
    context: &PlanContext<'_>,
    plan: impl Fn(&TensorSpec, &TensorSpec, &TensorSpec) -> Result<Scatter, EngineError>,
) -> Result<Planned, EngineError> {
    let [data, indices, updates] =
        [context.input(0)?, context.input(1)?, context.input(2)?].map(|input| &input.spec);
    let output = output_like(data.dtype, data);
    let scatter = plan(&output, indices, updates)?;
    let in_place = if *data == output { vec![0] } else { Vec::new() };
    let step = step(move |context| {
        let [data, indices, updates] = [0, 1, 2].map(|i| input(context.inputs, i));
        let output = &mut context.outputs[0];
        if data.as_ptr() != output.as_ptr() {
            let copied = copy(data, output, context.pool);
            debug_assert!(copied.is_ok(), "{copied:?}");
        }
        scatter.run(indices, updates, output);
    });
    Ok(Planned::Step { outputs: vec![output], in_place, scratch_bytes: 0, step })
}

fn plan_non_zero(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let Some(view) = &context.input(0)?.value else { return Ok(Planned::NeedsValue(0)) };
    let truth = super::planning::truth(view)?;
    let places: Vec<usize> = truth.iter().enumerate().filter(|entry| *entry.1).map(|entry| entry.0).collect();
    let shape = view.shape();
    let mut tensor = context.zeros(DType::I64, &[shape.len(), places.len()])?;
    let mut written = tensor.view_mut();
    let rows = written.slice_mut::<i64>().unwrap_or_default();
    for (i, &place) in places.iter().enumerate() {
        let mut rest = place;
        for axis in (0..shape.len()).rev() {
            rows[axis * places.len() + i] = (rest % shape[axis]) as i64;
            rest /= shape[axis];
        }
    }
    Ok(Planned::Values(vec![tensor]))
}

/// Keeps the slices whose condition holds; the condition decides how many.
fn plan_compress(context: &PlanContext<'_>, axis: Option<i64>) -> Result<Planned, EngineError> {
    expect_dtype(context.input(1)?, DType::Bool)?;
    let data = &context.input(0)?.spec;
    let Some(condition) = &context.input(1)?.value else { return Ok(Planned::NeedsValue(1)) };
    let kept: Vec<i64> = condition
        .to_vec::<bool>()
        .into_iter()
        .enumerate()
        .filter(|entry| entry.1)
        .map(|entry| entry.0 as i64)
        .collect();
    let seen = match axis {
        Some(_) => data.clone(),
        None => {
            let strides =
                vedette_tensor::movement::reshape_strides(&data.shape, &data.strides, &[data.len()]);
            let Some(strides) = strides else {
                return Err(EngineError::Unsupported(
                    "Compress of all elements of a tensor with gaps".into(),
                ));
            };
            TensorSpec { dtype: data.dtype, shape: [data.len()].as_slice().into(), strides }
        }
    };
    let axis = axis_of(axis.unwrap_or(0), seen.shape.len())?;
    if let Some(last) = kept.last()
        && *last >= seen.shape[axis] as i64
    {
        return invalid(format!("the condition holds at {last}, beyond an axis of {}", seen.shape[axis]));
    }
    let indices = Tensor::from_slice(&[kept.len()], &kept);
    let places = TensorSpec::contiguous(DType::I64, &[kept.len()]);
    let gather = Gather::slices(layout(&seen), axis, layout(&places))?;
    let output = TensorSpec::contiguous(data.dtype, gather.output_shape());
    plan_step(output, move |context| {
        let given = input(context.inputs, 0);
        // SAFETY: `seen` is the input's own layout, or its elements in one row.
        let data = unsafe { given.reinterpret(seen.shape.clone(), seen.strides.clone(), 0) };
        gather.run(&data, &indices.view(), &mut context.outputs[0], context.pool);
    })
}
