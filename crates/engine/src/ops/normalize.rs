//! Normalisations over a tensor's last axes, its groups of channels, or by constants.

use super::Build;
use super::planning::{
    axes_of, axis_of, expect_dtype, input, invalid, layout, operator, output_like, plan_step, relaid, step,
};
use super::reduce::reduced;
use super::scratch::ScratchPlan;
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use vedette_tensor::elementwise::{BinaryOp, Map, binary, multiply_add};
use vedette_tensor::movement::Copy;
use vedette_tensor::normalize::{LayerNorm, LocalResponse};
use vedette_tensor::reduce::{Reduce, ReduceOp};
use vedette_tensor::{DType, Dims, Strides, View, is_dense};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("LayerNormalization", |attributes| layer_norm(attributes, true)),
    ("RMSNormalization", |attributes| layer_norm(attributes, false)),
    ("BatchNormalization", |attributes| {
        let epsilon = attributes.float_or("epsilon", 1e-5)?;
        operator(move |context| plan_batch_norm(context, epsilon))
    }),
    ("InstanceNormalization", |attributes| {
        let epsilon = attributes.float_or("epsilon", 1e-5)?;
        operator(move |context| {
            let groups = context.input(0)?.spec.shape.get(1).copied().unwrap_or(1);
            plan_group_norm(context, groups, epsilon)
        })
    }),
    ("GroupNormalization", |attributes| {
        let epsilon = attributes.float_or("epsilon", 1e-5)?;
        let groups = usize::try_from(attributes.int("num_groups")?).unwrap_or(0);
        operator(move |context| plan_group_norm(context, groups, epsilon))
    }),
    ("MeanVarianceNormalization", |attributes| {
        let axes = attributes.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
        operator(move |context| {
            expect_dtype(context.input(0)?, DType::F32)?;
            let spec = &context.input(0)?.spec;
            let axes = axes_of(&axes, spec.shape.len())?;
            // The epsilon is added to the deviation, not the variance.
            let inverse = |variance: f32| 1.0 / (variance.sqrt() + 1e-9);
            plan_standardise(context, spec.clone(), axes, None, inverse)
        })
    }),
    ("LpNormalization", lp_norm),
    ("LRN", |attributes| {
        let size = usize::try_from(attributes.int("size")?).unwrap_or(0);
        let alpha = attributes.float_or("alpha", 1e-4)?;
        let beta = attributes.float_or("beta", 0.75)?;
        let bias = attributes.float_or("bias", 1.0)?;
        operator(move |context| {
            let spec = &context.input(0)?.spec;
            if !is_dense(&spec.shape, &spec.strides) {
                return Err(EngineError::Unsupported("LRN of a tensor with gaps".into()));
            }
            let plan = LocalResponse::new(layout(spec), size, alpha, beta, bias)?;
            plan_step(spec.clone(), move |context| {
                plan.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
            })
        })
    }),
];

fn layer_norm(attributes: &Attributes, centred: bool) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int_or("axis", -1)?;
    let epsilon = attributes.float_or("epsilon", 1e-5)?;
    operator(move |context| plan_layer_norm(context, axis, epsilon, centred))
}

fn plan_layer_norm(
    context: &PlanContext<'_>,
    axis: i64,
    epsilon: f32,
    centred: bool,
) -> Result<Planned, EngineError> {
    for i in 0..context.inputs.len() {
        if let Some(input) = context.optional(i) {
            expect_dtype(input, DType::F32)?;
        }
    }
    let spec = &context.input(0)?.spec;
    let axis = axis_of(axis, spec.shape.len())?;
    let size = spec.shape[axis..].iter().product();
    if size == 0 && context.outputs > 1 {
        return invalid(format!("no statistics of vectors without elements (shape {:?})", &spec.shape[..]));
    }
    let output = TensorSpec::contiguous(DType::F32, &spec.shape);
    let statistics: Dims = (0..spec.shape.len()).map(|i| if i < axis { spec.shape[i] } else { 1 }).collect();
    // Scale and bias broadcast to a vector; where they are not one already they are spread out first.
    let mut scratch = ScratchPlan::default();
    let mut spread = Vec::new();
    for i in [1, 2].into_iter().filter(|&i| context.optional(i).is_some()) {
        let given = &context.input(i)?.spec;
        let vector = TensorSpec::contiguous(DType::F32, &spec.shape[axis..]);
        if *given == vector {
            continue;
        }
        let strides = broadcast_strides(given, &vector.shape)?;
        let copy = Copy::new(&vector.shape, &strides, &vector.strides, 4);
        spread.push((i, copy, strides, vector.shape.clone(), scratch.tensor(&vector)?));
    }
    let reorder = (*spec != output).then(|| Copy::new(&spec.shape, &spec.strides, &output.strides, 4));
    // What is copied first is normalised where it went, so that it stays float32.
    let dtype = if context.rounded && reorder.is_none() { DType::BF16 } else { DType::F32 };
    let norm = LayerNorm { size, epsilon, centred, isa: context.isa };
    let in_place = if *spec == output && dtype == DType::F32 { vec![0] } else { Vec::new() };
    let mut outputs = vec![TensorSpec { dtype, ..output }];
    outputs.resize(context.outputs.max(1), TensorSpec::contiguous(DType::F32, &statistics));
    let scratch_bytes = scratch.bytes();
    let step = step(move |context| {
        for (i, copy, strides, shape, tensor) in &spread {
            // SAFETY: strides that broadcast reach no more than the input itself.
            let given = unsafe { input(context.inputs, *i).reinterpret(shape.clone(), strides.clone(), 0) };
            copy.run(&given, &mut tensor.view_mut(context.scratch), context.pool);
        }
        let scratch = &*context.scratch;
        let vector = |i: usize| match spread.iter().find(|entry| entry.0 == i) {
            Some(entry) => Some(entry.4.view(scratch)),
            None => context.inputs.get(i).cloned().flatten(),
        };
        let (scale, bias) = (vector(1), vector(2));
        let Some(scale) = scale.as_ref().and_then(|view| view.slice::<f32>()) else { return };
        let bias = bias.as_ref().and_then(|view| view.slice::<f32>());
        let (first, rest) = context.outputs.split_at_mut(1);
        let output = &mut first[0];
        let mut rest = rest.iter_mut().map(|view| view.slice_mut::<f32>());
        let statistics = [rest.next().flatten(), rest.next().flatten()];
        let given = input(context.inputs, 0);
        let from = match &reorder {
            None => given.clone(),
            Some(copy) => {
                copy.run(given, output, context.pool);
                // SAFETY: each vector is read before it is written, through pointers.
                unsafe { alias(output) }
            }
        };
        let done = norm.run(&from, scale, bias, output, statistics, context.pool);
        debug_assert!(done.is_ok(), "{done:?}");
    });
    Ok(Planned::Step { outputs, in_place, scratch_bytes, step })
}

/// An output seen as an input.
///
/// # Safety
/// Until the view is dropped, the elements may only be written through pointers, after they were read.
unsafe fn alias<'v>(output: &vedette_tensor::ViewMut<'_>) -> View<'v> {
    // SAFETY: the elements are the output's own; how they are written meanwhile is the caller's promise.
    unsafe {
        View::from_raw_parts(output.dtype(), output.shape().into(), output.strides().into(), output.as_ptr())
    }
}

/// Strides with which a tensor broadcasts to a shape.
fn broadcast_strides(spec: &TensorSpec, shape: &[usize]) -> Result<Strides, EngineError> {
    let missing = shape.len().checked_sub(spec.shape.len());
    let fits = missing.is_some_and(|missing| {
        spec.shape.iter().zip(&shape[missing..]).all(|(&own, &dim)| own == dim || own == 1)
    });
    let Some(missing) = missing.filter(|_| fits) else {
        return invalid(format!("shape {:?} does not broadcast to {shape:?}", &spec.shape[..]));
    };
    Ok((0..shape.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(own) if spec.shape[own] != 1 => spec.strides[own],
            _ => 0,
        })
        .collect())
}

/// Reads a vector with one value for each channel.
fn channel_values<'v>(inputs: &'v [Option<View<'_>>], i: usize) -> impl Fn(usize) -> f32 + 'v {
    let view = input(inputs, i);
    let (pointer, stride, count) = (view.as_ptr_of::<f32>(), view.strides()[0], view.shape()[0]);
    move |channel| {
        assert!(channel < count);
        // SAFETY: the channel is an index of the view, whose pointer and stride these are.
        unsafe { pointer.offset(stride * channel as isize).read() }
    }
}

/// Checks that inputs are float32, and those after the first vectors of a value for each channel.
fn check_channels(context: &PlanContext<'_>, count: usize) -> Result<usize, EngineError> {
    expect_dtype(context.input(0)?, DType::F32)?;
    let shape = &context.input(0)?.spec.shape;
    let Some(&channels) = shape.get(1) else {
        return invalid(format!("expected a tensor [N, C, ...], got shape {:?}", &shape[..]));
    };
    for i in 1..count {
        let vector = context.input(i)?;
        expect_dtype(vector, DType::F32)?;
        if vector.spec.shape[..] != [channels] {
            let found = &vector.spec.shape[..];
            return invalid(format!(
                "input {i} has shape {found:?}, expected one value for {channels} channels"
            ));
        }
    }
    Ok(channels)
}

fn plan_batch_norm(context: &PlanContext<'_>, epsilon: f32) -> Result<Planned, EngineError> {
    let channels = check_channels(context, 5)?;
    let spec = &context.input(0)?.spec;
    let output = output_like(DType::F32, spec);
    let mut shape = Dims::from_elem(1, spec.shape.len() - 1);
    shape[0] = channels;
    let vector = TensorSpec::contiguous(DType::F32, &shape);
    let map = Map::new(
        multiply_add(context.isa),
        [layout(&output), layout(spec), layout(&vector), layout(&vector)],
    )?;
    let mut scratch = ScratchPlan::default();
    let (factor, offset) = (scratch.tensor(&vector)?, scratch.tensor(&vector)?);
    let in_place = if *spec == output { vec![0] } else { Vec::new() };
    let scratch_bytes = scratch.bytes();
    let step = step(move |context| {
        let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|i| channel_values(context.inputs, i));
        let coefficient = |c: usize| scale(c) / (variance(c) + epsilon).sqrt();
        factor.fill(context.scratch, coefficient);
        offset.fill(context.scratch, |c| bias(c) - mean(c) * coefficient(c));
        let (factor, offset) = (factor.view(context.scratch), offset.view(context.scratch));
        map.run(&[input(context.inputs, 0), &factor, &offset], &mut context.outputs[0], context.pool);
    });
    Ok(Planned::Step { outputs: vec![output], in_place, scratch_bytes, step })
}

/// Splits axis 1 of a tensor `[N, C, ...]` into groups of channels.
fn grouped(spec: &TensorSpec, groups: usize) -> TensorSpec {
    let size = spec.shape[1] / groups.max(1);
    let mut split = spec.clone();
    split.shape[1] = groups;
    split.shape.insert(2, size);
    split.strides[1] = spec.strides[1] * size as isize;
    split.strides.insert(2, spec.strides[1]);
    split
}

fn plan_group_norm(context: &PlanContext<'_>, groups: usize, epsilon: f32) -> Result<Planned, EngineError> {
    let channels = check_channels(context, 3)?;
    if groups == 0 && channels > 0 || groups > 0 && channels % groups != 0 {
        return invalid(format!("{channels} channels cannot be divided into {groups} groups"));
    }
    let split = grouped(&context.input(0)?.spec, groups);
    let axes = (2..split.shape.len()).collect();
    plan_standardise(context, split, axes, Some(groups), move |variance| 1.0 / (variance + epsilon).sqrt())
}

/// Subtracts means and multiplies by what `inverse` makes of variances, both taken over `axes` of input 0 as `seen`.
///
/// With `groups`, inputs 1 and 2 are scale and bias of the channels, and axes 1 and 2 of `seen` are groups and the
/// channels in a group.
fn plan_standardise(
    context: &PlanContext<'_>,
    seen: TensorSpec,
    axes: Dims,
    groups: Option<usize>,
    inverse: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let output = output_like(DType::F32, spec);
    let written = groups.map_or_else(|| output.clone(), |groups| grouped(&output, groups));
    let (mut moments, _) = reduced(&seen, DType::F32, &axes, true);
    moments.strides = vedette_tensor::contiguous_strides(&moments.shape);
    let reduce = |op| Reduce::new(op, layout(&seen), &axes, layout(&moments), context.isa);
    let (mean, variance) = (reduce(ReduceOp::Mean)?, reduce(ReduceOp::Variance)?);
    // One factor and offset for each channel of each batch, or for each moment.
    let each = groups.map_or(1, |_| seen.shape[2]);
    let mut shape = moments.shape.clone();
    if groups.is_some() {
        shape[2] = each;
    }
    let coefficients = TensorSpec::contiguous(DType::F32, &shape);
    let map = Map::new(
        multiply_add(context.isa),
        [layout(&written), layout(&seen), layout(&coefficients), layout(&coefficients)],
    )?;
    let mut scratch = ScratchPlan::default();
    let (means, variances) = (scratch.tensor(&moments)?, scratch.tensor(&moments)?);
    let (factor, offset) = (scratch.tensor(&coefficients)?, scratch.tensor(&coefficients)?);
    let scratch_bytes = scratch.bytes();
    let step = step(move |context| {
        // SAFETY: `seen` is the input with one axis split in two, which reaches the same elements.
        let x = unsafe { input(context.inputs, 0).reinterpret(seen.shape.clone(), seen.strides.clone(), 0) };
        mean.run(&x, None, &mut means.view_mut(context.scratch), context.pool);
        let (mut to, [centre]) = variances.view_mut_beside(context.scratch, [&means]);
        variance.run(&x, Some(&centre), &mut to, context.pool);
        let parameters =
            groups.map(|groups| (groups * each, [1, 2].map(|i| channel_values(context.inputs, i))));
        let scale = |i: usize| parameters.as_ref().map_or(1.0, |(channels, [scale, _])| scale(i % channels));
        let bias = |i: usize| parameters.as_ref().map_or(0.0, |(channels, [_, bias])| bias(i % channels));
        let (mut to, [found]) = factor.view_mut_beside(context.scratch, [&variances]);
        let found = found.slice::<f32>().unwrap_or_default();
        for (i, factor) in to.slice_mut::<f32>().unwrap_or_default().iter_mut().enumerate() {
            *factor = scale(i) * inverse(found[i / each]);
        }
        let (mut to, [means, factors]) = offset.view_mut_beside(context.scratch, [&means, &factor]);
        let means = means.slice::<f32>().unwrap_or_default();
        let factors = factors.slice::<f32>().unwrap_or_default();
        for (i, offset) in to.slice_mut::<f32>().unwrap_or_default().iter_mut().enumerate() {
            *offset = bias(i) - means[i / each] * factors[i];
        }
        let (factor, offset) = (factor.view(context.scratch), offset.view(context.scratch));
        let mut output = relaid(&mut context.outputs[0], &written.shape, &written.strides);
        map.run(&[&x, &factor, &offset], &mut output, context.pool);
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
}

fn lp_norm(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int_or("axis", -1)?;
    let op = match attributes.int_or("p", 2)? {
        1 => ReduceOp::L1,
        2 => ReduceOp::L2,
        p => return invalid(format!("attribute `p` is {p}, expected 1 or 2")),
    };
    operator(move |context| {
        expect_dtype(context.input(0)?, DType::F32)?;
        let spec = &context.input(0)?.spec;
        let axis = axis_of(axis, spec.shape.len())?;
        let output = output_like(DType::F32, spec);
        let (norms, _) = reduced(spec, DType::F32, &[axis], true);
        let reduce = Reduce::new(op, layout(spec), &[axis], layout(&norms), context.isa)?;
        let Some(kernel) = binary(BinaryOp::Div, DType::F32, context.isa) else {
            return invalid("no division of float32");
        };
        let map = Map::new(kernel, [layout(&output), layout(spec), layout(&norms)])?;
        let mut scratch = ScratchPlan::default();
        let norms = scratch.tensor(&norms)?;
        let step = step(move |context| {
            let x = input(context.inputs, 0);
            let mut found = norms.view_mut(context.scratch);
            reduce.run(x, None, &mut found, context.pool);
            for norm in found.dense_slice_mut::<f32>().unwrap_or_default() {
                // A vector of zeros stays one.
                *norm = if *norm == 0.0 { 1.0 } else { *norm };
            }
            map.run(&[x, &found.as_view()], &mut context.outputs[0], context.pool);
        });
        let scratch_bytes = scratch.bytes();
        Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
    })
}
