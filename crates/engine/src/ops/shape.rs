//! Operators that change how elements are seen. They are views wherever strides can say what they do.

use super::Build;
use super::planning::{
    Integers, axes_of, axis_of, invalid, known_integers, moving, operator, optional_integers, plan_copy,
    plan_value, plan_view, shape_of, size_of_dim,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec, ViewOf};
use vedette_tensor::movement::reshape_strides;
use vedette_tensor::{Dims, Strides, Tensor, broadcast_shape, contiguous_strides, element_count};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Identity", |_| moving(|context| plan_view(context.input(0)?.spec.clone(), 0))),
    ("Reshape", |attributes| {
        let allow_zero = attributes.flag_or("allowzero", false)?;
        moving(move |context| {
            let Some(target) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
            let spec = &context.input(0)?.spec;
            plan_reshape(spec, &resolve_shape(&spec.shape, &target, allow_zero)?)
        })
    }),
    ("Flatten", |attributes| {
        let axis = attributes.int_or("axis", 1)?;
        moving(move |context| {
            let spec = &context.input(0)?.spec;
            let rank = spec.shape.len();
            let axis = if axis == rank as i64 { rank } else { axis_of(axis, rank)? };
            let count = |dims: &[usize]| element_count(dims).unwrap_or(usize::MAX);
            plan_reshape(spec, &[count(&spec.shape[..axis]), count(&spec.shape[axis..])])
        })
    }),
    ("Squeeze", |_| moving(plan_squeeze)),
    ("Unsqueeze", |_| moving(plan_unsqueeze)),
    ("Transpose", transpose),
    ("Slice", |_| moving(plan_slice)),
    ("Split", split),
    ("Expand", |_| operator(plan_expand)),
    ("Shape", |attributes| {
        let start = attributes.int_or("start", 0)?;
        let end = attributes.int_or("end", i64::MAX)?;
        operator(move |context| {
            let shape = &context.input(0)?.spec.shape;
            let rank = shape.len() as i64;
            let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
            let dims = shape.get(place(start)..place(end)).unwrap_or_default();
            let dims: Vec<i64> = dims.iter().map(|&dim| dim as i64).collect();
            plan_value(Tensor::from_slice(&[dims.len()], &dims))
        })
    }),
    ("Size", |_| {
        operator(|context| plan_value(Tensor::from_slice(&[], &[context.input(0)?.spec.len() as i64])))
    }),
];

/// A view under another shape where strides permit, else a copy in C order.
fn plan_reshape(spec: &TensorSpec, shape: &[usize]) -> Result<Planned, EngineError> {
    if let Some(strides) = reshape_strides(&spec.shape, &spec.strides, shape) {
        return plan_view(TensorSpec { dtype: spec.dtype, shape: shape.into(), strides }, 0);
    }
    plan_copy(spec, TensorSpec::contiguous(spec.dtype, shape), contiguous_strides(&spec.shape))
}

/// The shape meant by the input of Reshape: 0 keeps a dimension (unless allowed to be one), -1 takes what is left.
fn resolve_shape(shape: &[usize], target: &[i64], allow_zero: bool) -> Result<Dims, EngineError> {
    let mismatch =
        || EngineError::Invalid(format!("a tensor of shape {shape:?} cannot be reshaped to {target:?}"));
    let mut inferred = None;
    let mut dims = Dims::new();
    for (axis, &dim) in target.iter().enumerate() {
        dims.push(match dim {
            -1 if inferred.replace(axis).is_none() => 1,
            -1 => return invalid(format!("more than one dimension of {target:?} is -1")),
            0 if !allow_zero => *shape.get(axis).ok_or_else(mismatch)?,
            _ => size_of_dim(dim)?,
        });
    }
    let have = element_count(shape).ok_or_else(mismatch)?;
    let want = element_count(&dims).ok_or_else(mismatch)?;
    if let Some(axis) = inferred {
        if want == 0 || have % want != 0 {
            return Err(mismatch());
        }
        dims[axis] = have / want;
    } else if have != want {
        return Err(mismatch());
    }
    Ok(dims)
}

fn plan_squeeze(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let rank = spec.shape.len();
    let axes: Dims = match optional_integers(context, 1)? {
        Integers::Unknown => return Ok(Planned::NeedsValue(1)),
        Integers::Known(axes) => axes_of(&axes, rank)?,
        Integers::Absent => (0..rank).filter(|&axis| spec.shape[axis] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| spec.shape[axis] != 1) {
        return invalid(format!("axis {axis} of shape {:?} is not of size 1", &spec.shape[..]));
    }
    let kept = (0..rank).filter(|axis| !axes.contains(axis));
    let (shape, strides) = kept.map(|axis| (spec.shape[axis], spec.strides[axis])).unzip();
    plan_view(TensorSpec { dtype: spec.dtype, shape, strides }, 0)
}

fn plan_unsqueeze(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let Some(axes) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
    let axes = axes_of(&axes, spec.shape.len() + axes.len())?;
    let mut rest = spec.shape.iter().copied();
    let shape: Dims = (0..spec.shape.len() + axes.len())
        .map(|axis| if axes.contains(&axis) { 1 } else { rest.next().unwrap_or(1) })
        .collect();
    plan_reshape(spec, &shape)
}

fn transpose(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let order = attributes.ints("perm")?;
    moving(move |context| {
        let spec = &context.input(0)?.spec;
        let rank = spec.shape.len();
        let order: Dims = match &order {
            None => (0..rank).rev().collect(),
            Some(order) if order.len() == rank => axes_of(order, rank)?,
            Some(order) => return invalid(format!("perm {order:?} does not order {rank} axes")),
        };
        let (shape, strides) = order.iter().map(|&axis| (spec.shape[axis], spec.strides[axis])).unzip();
        plan_view(TensorSpec { dtype: spec.dtype, shape, strides }, 0)
    })
}

fn plan_slice(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let Some(starts) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
    let Some(ends) = known_integers(context.input(2)?)? else { return Ok(Planned::NeedsValue(2)) };
    let rank = spec.shape.len();
    let axes: Dims = match optional_integers(context, 3)? {
        Integers::Unknown => return Ok(Planned::NeedsValue(3)),
        Integers::Known(axes) => axes_of(&axes, rank)?,
        Integers::Absent => (0..starts.len()).collect(),
    };
    let steps = match optional_integers(context, 4)? {
        Integers::Unknown => return Ok(Planned::NeedsValue(4)),
        Integers::Known(steps) => steps,
        Integers::Absent => vec![1; starts.len()],
    };
    let lengths = [starts.len(), ends.len(), axes.len(), steps.len()];
    if lengths != [starts.len(); 4] || axes.iter().any(|&axis| axis >= rank) {
        return invalid(format!(
            "starts, ends, axes and steps of a slice have lengths {lengths:?}, rank {rank}"
        ));
    }
    let mut sliced = spec.clone();
    let mut offset = 0isize;
    for (i, &axis) in axes.iter().enumerate() {
        let (start, count) = slice_range(spec.shape[axis], starts[i], ends[i], steps[i])?;
        sliced.shape[axis] = count;
        if count > 0 {
            offset += start as isize * spec.strides[axis];
        }
        // With one element the stride is never taken, and the step may be as large as an integer gets.
        if count > 1 {
            sliced.strides[axis] *= steps[i] as isize;
        }
    }
    let offset = if sliced.is_empty() { 0 } else { offset };
    plan_view(sliced, offset)
}

/// First index and number of elements of a slice, by NumPy's rules.
fn slice_range(dim: usize, start: i64, end: i64, step: i64) -> Result<(usize, usize), EngineError> {
    let size = dim as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (start, end) = (from_start(start), from_start(end));
    match step {
        0 => invalid("a slice has step 0"),
        1.. => {
            let (start, end) = (start.clamp(0, size), end.clamp(0, size));
            let count = if end > start { (end - start - 1) / step + 1 } else { 0 };
            Ok((start as usize, count as usize))
        }
        _ => {
            let (start, end) = (start.clamp(-1, size - 1), end.clamp(-1, size - 1));
            let count = if start > end { (start - end - 1) / step.saturating_neg() + 1 } else { 0 };
            Ok((start.max(0) as usize, count as usize))
        }
    }
}

fn split(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int_or("axis", 0)?;
    let parts = match attributes.has("num_outputs") {
        true => Some(attributes.int("num_outputs")?),
        false => None,
    };
    moving(move |context| {
        let spec = &context.input(0)?.spec;
        let axis = axis_of(axis, spec.shape.len())?;
        let dim = spec.shape[axis];
        let sizes: Dims = match optional_integers(context, 1)? {
            Integers::Unknown => return Ok(Planned::NeedsValue(1)),
            Integers::Known(sizes) => shape_of(&sizes)?,
            Integers::Absent => {
                let parts = size_of_dim(parts.unwrap_or(context.outputs as i64))?;
                if parts != context.outputs || parts == 0 {
                    return invalid(format!(
                        "cannot split into {parts} parts for {} outputs",
                        context.outputs
                    ));
                }
                let each = dim.div_ceil(parts);
                (0..parts).map(|part| dim.saturating_sub(part * each).min(each)).collect()
            }
        };
        let total = sizes.iter().try_fold(0usize, |total, &size| total.checked_add(size));
        if sizes.len() != context.outputs || total != Some(dim) {
            let outputs = context.outputs;
            return invalid(format!("{dim} elements cannot be split into {sizes:?} for {outputs} outputs"));
        }
        let mut start = 0;
        let mut views = Vec::with_capacity(sizes.len());
        for size in sizes {
            let mut part = spec.clone();
            part.shape[axis] = size;
            let offset = if part.is_empty() { 0 } else { start as isize * spec.strides[axis] };
            views.push(ViewOf { spec: part, offset });
            start += size;
        }
        Ok(Planned::Views { input: 0, views })
    })
}

/// Repeats by stride 0: whoever reads the result sees the one element again and again.
fn plan_expand(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let Some(target) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
    let shape = broadcast_shape(&spec.shape, &shape_of(&target)?)?;
    if element_count(&shape).is_none_or(|count| count > isize::MAX as usize) {
        return Err(EngineError::Memory(format!("a tensor of shape {:?} is too large", &shape[..])));
    }
    let missing = shape.len() - spec.shape.len();
    let strides: Strides = (0..shape.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(own) if spec.shape[own] == shape[axis] => spec.strides[own],
            _ => 0,
        })
        .collect();
    plan_view(TensorSpec { dtype: spec.dtype, shape, strides }, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_numpy() {
        let indices: Vec<i64> = (0..7).collect();
        for (start, end, step, expected) in [
            (0, 7, 1, vec![0, 1, 2, 3, 4, 5, 6]),
            (-3, i64::MAX, 1, vec![4, 5, 6]),
            (1, -1, 2, vec![1, 3, 5]),
            (i64::MAX, i64::MIN, -1, vec![6, 5, 4, 3, 2, 1, 0]),
            (5, 2, -2, vec![5, 3]),
            (5, 2, 1, vec![]),
            (3, 100, i64::MAX, vec![3]),
            (-100, 1, 1, vec![0]),
            (-100, i64::MIN, -1, vec![]),
            (6, i64::MIN, i64::MIN, vec![6]),
        ] {
            let (first, count) = slice_range(7, start, end, step).unwrap();
            let found: Vec<i64> = (0..count).map(|i| indices[first] + i as i64 * step).collect();
            assert_eq!(found, expected, "{start}:{end}:{step}");
        }
        assert!(slice_range(7, 0, 7, 0).is_err());
        assert_eq!(slice_range(0, 0, 5, 1).unwrap().1, 0);
    }

    #[test]
    fn reshape_resolves_zeros_and_the_rest() {
        assert_eq!(resolve_shape(&[2, 3, 4], &[0, -1], false).unwrap().as_slice(), [2, 12]);
        assert_eq!(resolve_shape(&[0, 3], &[0, 5], true).unwrap().as_slice(), [0, 5]);
        assert!(resolve_shape(&[2, 3], &[-1, -1], false).is_err());
        assert!(resolve_shape(&[2, 3], &[4, -1], false).is_err());
        assert!(resolve_shape(&[2, 3], &[7], false).is_err());
        assert!(resolve_shape(&[2, 3], &[1, 2, 0, 0], false).is_err());
    }
}
