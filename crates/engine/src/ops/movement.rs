//! Operators that bring elements to other places.

use super::Build;
use super::planning::{
    Integers, axes_of, axis_of, concat_rows, input, invalid, known_integers, layout, one_of, operator,
    operator_by_rows, optional_integers, plan_step, plan_view, shape_of, step,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use vedette_tensor::movement::{GridGather, Join, Placement, Rearrange, dense_strides_like, fill};
use vedette_tensor::{Dims, Strides, Tensor, View};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Concat", concat),
    ("Tile", |_| operator(plan_tile)),
    ("DepthToSpace", |attributes| {
        let block = block_size(attributes)?;
        let columns = one_of(attributes, "mode", "DCR", &[("DCR", false), ("CRD", true)])?;
        operator(move |context| plan_depth_to_space(context, block, columns))
    }),
    ("SpaceToDepth", |attributes| {
        let block = block_size(attributes)?;
        let columns = one_of(attributes, "mode", "DCR", &[("DCR", false), ("CRD", true)])?;
        operator(move |context| plan_space_to_depth(context, block, columns))
    }),
    ("Pad", |attributes| {
        let modes = [
            ("constant", PadMode::Constant),
            ("reflect", PadMode::Reflect),
            ("edge", PadMode::Edge),
            ("wrap", PadMode::Wrap),
        ];
        let mode = one_of(attributes, "mode", "constant", &modes)?;
        operator(move |context| plan_pad(context, mode))
    }),
];

/// Rows enough that every thread has many.
const JOINED_ROWS: usize = 64;

/// The concatenation row by row, where all inputs lie in the output's memory order and rows are many.
fn join(specs: &[&TensorSpec], output: &TensorSpec, axis: usize) -> Option<Join> {
    let alike = specs.iter().all(|spec| {
        let strides = dense_strides_like(&spec.shape, &output.strides);
        **spec == TensorSpec { dtype: spec.dtype, shape: spec.shape.clone(), strides }
    });
    let step = output.strides[axis] as usize * output.dtype.size();
    let runs: Vec<usize> = specs.iter().map(|spec| spec.shape[axis] * step).collect();
    let row: usize = runs.iter().sum();
    let rows = (output.len() * output.dtype.size()).checked_div(row)?;
    (alike && rows >= JOINED_ROWS && specs.iter().all(|spec| spec.dtype == output.dtype))
        .then(|| Join::new(runs, rows))
}

fn concat(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int("axis")?;
    let plan = move |context: &PlanContext<'_>| {
        let specs: Vec<&TensorSpec> = (0..context.inputs.len())
            .map(|i| context.input(i).map(|input| &input.spec))
            .collect::<Result<_, _>>()?;
        let Some(&first) = specs.first() else { return invalid("Concat of no inputs") };
        if specs.len() == 1 {
            return plan_view(first.clone(), 0);
        }
        let axis = axis_of(axis, first.shape.len())?;
        let mut shape = first.shape.clone();
        shape[axis] = 0;
        for (i, spec) in specs.iter().enumerate() {
            let same = |&other: &usize| other == axis || spec.shape[other] == first.shape[other];
            if spec.shape.len() != shape.len() || !(0..shape.len()).all(|other| same(&other)) {
                let (a, b) = (&first.shape[..], &spec.shape[..]);
                return invalid(format!("input {i} of shape {b:?} cannot follow {a:?} along axis {axis}"));
            }
            shape[axis] = shape[axis].saturating_add(spec.shape[axis]);
        }
        // The memory order of the input with the most elements.
        let main = specs.iter().rev().max_by_key(|spec| spec.len()).unwrap_or(&first);
        let output =
            TensorSpec { dtype: first.dtype, strides: dense_strides_like(&shape, &main.strides), shape };
        super::planning::check(context, &output)?;
        if let Some(join) = join(&specs, &output, axis) {
            return plan_step(output, move |context| {
                let (inputs, out) = (context.inputs, &mut context.outputs[0]);
                // SAFETY: the views lie as planned: runs of each input, one after the other in every row.
                unsafe { join.run(|i| input(inputs, i).as_ptr(), out.as_mut_ptr(), context.pool) };
            });
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(specs.len());
        for spec in &specs {
            let written =
                Placement { strides: &output.strides, offset: start as isize * output.strides[axis] };
            let read = Placement { strides: &spec.strides, offset: 0 };
            parts.push(Rearrange::new(&spec.shape, layout(spec), read, layout(&output), written)?);
            start += spec.shape[axis];
        }
        plan_step(output, move |context| {
            for (i, part) in parts.iter().enumerate() {
                part.run(input(context.inputs, i), &mut context.outputs[0], context.pool);
            }
        })
    };
    operator_by_rows(plan, move |context| concat_rows(context, axis))
}

/// A copy of input 0, both tensors seen through a shape of the copy's own.
fn plan_rearrange(
    from: &TensorSpec,
    output: TensorSpec,
    shape: &[usize],
    read: &[isize],
    written: &[isize],
) -> Result<Planned, EngineError> {
    let at_start = |strides| Placement { strides, offset: 0 };
    let copy = Rearrange::new(shape, layout(from), at_start(read), layout(&output), at_start(written))?;
    plan_step(output, move |context| {
        copy.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
    })
}

fn plan_tile(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let Some(repeats) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
    let repeats = shape_of(&repeats)?;
    if repeats.len() != spec.shape.len() {
        let shape = &spec.shape[..];
        return invalid(format!("{} repeats for a tensor of shape {shape:?}", repeats.len()));
    }
    if repeats.iter().all(|&repeat| repeat == 1) {
        return plan_view(spec.clone(), 0);
    }
    let shape: Dims =
        spec.shape.iter().zip(&repeats).map(|(&dim, &repeat)| dim.saturating_mul(repeat)).collect();
    let output = TensorSpec { dtype: spec.dtype, strides: dense_strides_like(&shape, &spec.strides), shape };
    super::planning::check(context, &output)?;
    // Every axis is seen as two: which repetition, and where in it.
    let (mut seen, mut read, mut written) = (Dims::new(), Strides::new(), Strides::new());
    for axis in 0..spec.shape.len() {
        seen.extend([repeats[axis], spec.shape[axis]]);
        read.extend([0, spec.strides[axis]]);
        let stride = output.strides[axis];
        written.extend([stride.saturating_mul(spec.shape[axis] as isize), stride]);
    }
    plan_rearrange(spec, output, &seen, &read, &written)
}

fn block_size(attributes: &Attributes) -> Result<usize, EngineError> {
    match attributes.int("blocksize")? {
        size @ 1..=0xffff => Ok(size as usize),
        size => invalid(format!("attribute `blocksize` is {size}, expected 1 or more")),
    }
}

fn image_spec<'a>(context: &PlanContext<'a>) -> Result<&'a TensorSpec, EngineError> {
    let spec = &context.input(0)?.spec;
    match spec.shape.len() {
        4 => Ok(spec),
        _ => invalid(format!("expected a tensor [N, C, H, W], got shape {:?}", &spec.shape[..])),
    }
}

fn plan_depth_to_space(
    context: &PlanContext<'_>,
    block: usize,
    columns: bool,
) -> Result<Planned, EngineError> {
    let spec = image_spec(context)?;
    let &[n, c, h, w] = &spec.shape[..] else { return invalid("expected rank 4") };
    if c % (block * block) != 0 {
        return invalid(format!("{c} channels cannot be spread over blocks of {block} x {block}"));
    }
    let shape: Dims = [n, c / (block * block), h * block, w * block].as_slice().into();
    let output = TensorSpec { dtype: spec.dtype, strides: dense_strides_like(&shape, &spec.strides), shape };
    let seen = [n, output.shape[1], h, block, w, block];
    let (each, inside) = (spec.strides[1], block as isize);
    // Channels are [block, block, C'] (DCR) or [C', block, block] (CRD).
    let [channel, row, column] = match columns {
        false => [each, each * (output.shape[1] as isize) * inside, each * output.shape[1] as isize],
        true => [each * inside * inside, each * inside, each],
    };
    let read = [spec.strides[0], channel, spec.strides[2], row, spec.strides[3], column];
    let to = &output.strides;
    let written = [to[0], to[1], to[2] * inside, to[2], to[3] * inside, to[3]];
    plan_rearrange(spec, output.clone(), &seen, &read, &written)
}

fn plan_space_to_depth(
    context: &PlanContext<'_>,
    block: usize,
    columns: bool,
) -> Result<Planned, EngineError> {
    let spec = image_spec(context)?;
    let &[n, c, h, w] = &spec.shape[..] else { return invalid("expected rank 4") };
    if h % block != 0 || w % block != 0 {
        return invalid(format!("{h} x {w} cannot be divided into blocks of {block} x {block}"));
    }
    let shape: Dims = [n, c.saturating_mul(block * block), h / block, w / block].as_slice().into();
    let output = TensorSpec { dtype: spec.dtype, strides: dense_strides_like(&shape, &spec.strides), shape };
    let seen = [n, c, h / block, block, w / block, block];
    let (from, inside) = (&spec.strides, block as isize);
    let read = [from[0], from[1], from[2] * inside, from[2], from[3] * inside, from[3]];
    let to = &output.strides;
    let (each, count) = (to[1], c as isize);
    // Channels are [block, block, C] (DCR) or [C, block, block] (CRD).
    let [channel, row, column] = match columns {
        false => [each, each * count * inside, each * count],
        true => [each * inside * inside, each * inside, each],
    };
    let written = [to[0], channel, to[2], row, to[3], column];
    plan_rearrange(spec, output.clone(), &seen, &read, &written)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

fn plan_pad(context: &PlanContext<'_>, mode: PadMode) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let rank = spec.shape.len();
    let Some(pads) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
    let axes: Dims = match optional_integers(context, 3)? {
        Integers::Unknown => return Ok(Planned::NeedsValue(3)),
        Integers::Known(axes) => axes_of(&axes, rank)?,
        Integers::Absent => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return invalid(format!("{} pads for {} axes, expected two for each", pads.len(), axes.len()));
    }
    let (mut begins, mut shape) = (vec![0i64; rank], spec.shape.clone());
    for (i, &axis) in axes.iter().enumerate() {
        let dim = (spec.shape[axis] as i64)
            .checked_add(pads[i])
            .and_then(|dim| dim.checked_add(pads[i + axes.len()]));
        let dim = dim.and_then(|dim| usize::try_from(dim).ok());
        let Some(dim) = dim else {
            return invalid(format!("pads {pads:?} leave nothing of shape {:?}", &spec.shape[..]));
        };
        (begins[axis], shape[axis]) = (pads[i], dim);
    }
    if shape == spec.shape && begins.iter().all(|&begin| begin == 0) {
        return plan_view(spec.clone(), 0);
    }
    let output = TensorSpec { dtype: spec.dtype, strides: dense_strides_like(&shape, &spec.strides), shape };
    super::planning::check(context, &output)?;
    if mode == PadMode::Constant {
        return plan_constant_pad(context, spec, output, &begins);
    }
    if spec.is_empty() && !output.is_empty() {
        return invalid(format!("nothing to repeat in a tensor of shape {:?}", &spec.shape[..]));
    }
    let index = |i: i64, dim: i64| match mode {
        PadMode::Wrap => i.rem_euclid(dim.max(1)),
        PadMode::Reflect if dim > 1 => {
            let folded = i.rem_euclid(2 * (dim - 1));
            folded.min(2 * (dim - 1) - folded)
        }
        _ => i.clamp(0, (dim - 1).max(0)),
    };
    let indices: Vec<Vec<usize>> = (0..rank)
        .map(|axis| {
            let dim = spec.shape[axis] as i64;
            (0..output.shape[axis] as i64).map(|i| index(i - begins[axis], dim) as usize).collect()
        })
        .collect();
    if output.is_empty() {
        return plan_step(output, |_| {});
    }
    let gather = GridGather::new(layout(spec), &indices, layout(&output))?;
    plan_step(output, move |context| {
        gather.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
    })
}

/// Fills the output, and copies what the pads leave of the input into it.
fn plan_constant_pad(
    context: &PlanContext<'_>,
    spec: &TensorSpec,
    output: TensorSpec,
    begins: &[i64],
) -> Result<Planned, EngineError> {
    if let Some(value) = context.optional(2)
        && (value.spec.dtype != spec.dtype || value.spec.len() != 1)
    {
        return invalid(format!("the pad value must be one {} element", spec.dtype));
    }
    let (mut kept, mut read, mut written) = (spec.shape.clone(), 0isize, 0isize);
    for (axis, &begin) in begins.iter().enumerate() {
        let (from, to) = ((-begin).max(0) as usize, begin.max(0) as usize);
        let left = spec.shape[axis].saturating_sub(from);
        kept[axis] = left.min(output.shape[axis].saturating_sub(to));
        read += from as isize * spec.strides[axis];
        written += to as isize * output.strides[axis];
    }
    let place = |strides, offset| Placement { strides, offset };
    let copy = match kept.contains(&0) {
        true => None,
        false => Some(Rearrange::new(
            &kept,
            layout(spec),
            place(&spec.strides, read),
            layout(&output),
            place(&output.strides, written),
        )?),
    };
    let zero = Tensor::zeros(spec.dtype, &[]).map_err(|error| EngineError::Memory(error.0))?;
    let step = step(move |context| {
        let output = &mut context.outputs[0];
        let zero = zero.view();
        let value: &View<'_> = context.inputs.get(2).and_then(Option::as_ref).unwrap_or(&zero);
        fill(output, value);
        if let Some(copy) = &copy {
            copy.run(input(context.inputs, 0), output, context.pool);
        }
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes: 0, step })
}
