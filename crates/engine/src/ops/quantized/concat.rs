//! QuantizedConcat: each input is brought to the scale of the output on its way.

use super::parameters::quantization;
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use crate::ops::Build;
use crate::ops::planning::{
    axis_of, check, concat_rows, expect_dtype, input, invalid, layout, operator_by_rows, output_like, step,
};
use crate::ops::scratch::{ScratchPlan, ScratchTensor};
use vedette_integer::elementwise::lookup;
use vedette_integer::{Quantization, Requantize};
use vedette_tensor::elementwise::{Layout, Map};
use vedette_tensor::movement::{Copy, dense_strides_like};
use vedette_tensor::{DType, Dims, Strides, ViewMut};

pub(super) const OPERATORS: &[(&str, Build)] = &[("QuantizedConcat", concat)];

fn concat(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int("axis")?;
    let to = quantization(attributes, "y")?;
    let scales = attributes.floats("scales")?.unwrap_or_default();
    let zero_points = attributes.ints("zero_points")?.unwrap_or_default();
    if scales.len() != zero_points.len() {
        return invalid(format!("{} scales and {} zero points", scales.len(), zero_points.len()));
    }
    let from: Vec<Quantization> = scales
        .into_iter()
        .zip(zero_points)
        .map(|(scale, zero_point)| Quantization::new(scale, zero_point))
        .collect::<Result<_, _>>()?;
    let requantize = Requantize::new(to, None)?;
    let tables: Vec<[u8; 256]> = from
        .iter()
        .map(
            |from| {
                if *from == to { std::array::from_fn(|q| q as u8) } else { from.table(&requantize, |x| x) }
            },
        )
        .collect();
    let by_rows = move |context: &PlanContext<'_>| concat_rows(context, axis);
    operator_by_rows(move |context| plan(context, axis, &tables), by_rows)
}

fn plan(context: &PlanContext<'_>, axis: i64, tables: &[[u8; 256]]) -> Result<Planned, EngineError> {
    if context.inputs.len() != tables.len() {
        return invalid(format!("{} inputs and {} scales", context.inputs.len(), tables.len()));
    }
    let mut specs = Vec::with_capacity(tables.len());
    for i in 0..tables.len() {
        expect_dtype(context.input(i)?, DType::U8)?;
        specs.push(&context.input(i)?.spec);
    }
    let Some(&first) = specs.first() else { return invalid("QuantizedConcat of no inputs") };
    let axis = axis_of(axis, first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for (i, spec) in specs.iter().enumerate() {
        let fits = spec.shape.len() == shape.len()
            && (0..shape.len()).all(|other| other == axis || spec.shape[other] == first.shape[other]);
        if !fits {
            let (a, b) = (&first.shape[..], &spec.shape[..]);
            return invalid(format!("input {i} of shape {b:?} cannot follow {a:?} along axis {axis}"));
        }
        shape[axis] = shape[axis].saturating_add(spec.shape[axis]);
    }
    // The memory order of the input with the most elements.
    let main = specs.iter().rev().max_by_key(|spec| spec.len()).unwrap_or(&first);
    let strides = dense_strides_like(&shape, &main.strides);
    let output = TensorSpec { dtype: DType::U8, shape, strides };
    check(context, &output)?;
    let mut start = 0;
    let mut scratch = ScratchPlan::default();
    let mut parts = Vec::with_capacity(specs.len());
    for (spec, table) in specs.iter().zip(tables) {
        let offset = start as isize * output.strides[axis];
        let to = Layout { dtype: DType::U8, shape: &spec.shape, strides: &output.strides };
        let (map, around) = match Map::new(lookup(context.isa, *table), [to, layout(spec)]) {
            Ok(map) => (map, None),
            // A slice of one channel, say, whose elements lie apart.
            Err(_) => {
                let dense = output_like(DType::U8, spec);
                let map = Map::new(lookup(context.isa, *table), [layout(&dense), layout(spec)])?;
                let copy = Copy::new(&spec.shape, &dense.strides, &output.strides, 1);
                (map, Some((scratch.tensor(&dense)?, copy)))
            }
        };
        parts.push(Part { map, around, shape: spec.shape.clone(), offset });
        start += spec.shape[axis];
    }
    let scratch_bytes = scratch.bytes();
    let step = step(move |context| {
        let strides: Strides = context.outputs[0].strides().into();
        let first = context.outputs[0].as_mut_ptr();
        for (i, part) in parts.iter().enumerate() {
            let pointer = first.wrapping_offset(part.offset);
            let (shape, strides) = (part.shape.clone(), strides.clone());
            // SAFETY: the slice of the output that this input fills; the output is borrowed exclusively.
            let mut slice = unsafe { ViewMut::from_raw_parts(DType::U8, shape, strides, pointer) };
            let x = input(context.inputs, i);
            match &part.around {
                None => part.map.run(&[x], &mut slice, context.pool),
                Some((dense, copy)) => {
                    part.map.run(&[x], &mut dense.view_mut(context.scratch), context.pool);
                    copy.run(&dense.view(context.scratch), &mut slice, context.pool);
                }
            }
        }
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
}

/// An input on its way to its slice of the output.
struct Part {
    map: Map<2>,
    /// Where the bytes lie before they are copied to their places.
    around: Option<(ScratchTensor, Copy)>,
    shape: Dims,
    /// Of the slice within the output.
    offset: isize,
}
