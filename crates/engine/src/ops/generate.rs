//! Operators whose output follows from few numbers: ranges, diagonals, triangles, one-hot codes.

use super::Build;
use super::planning::{axis_of, input, invalid, known_scalar, layout, operator, plan_step, plan_value, step};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, PlanInput, Planned, TensorSpec};
use vedette_tensor::elementwise::{Map, cast};
use vedette_tensor::indexing::{OneHot, keep_triangle};
use vedette_tensor::movement::Copy;
use vedette_tensor::{DType, Dims, Tensor, View};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Range", |_| operator(plan_range)),
    ("EyeLike", eye_like),
    ("Trilu", |attributes| {
        let upper = attributes.flag_or("upper", true)?;
        operator(move |context| plan_trilu(context, upper))
    }),
    ("OneHot", |attributes| {
        let axis = attributes.int_or("axis", -1)?;
        operator(move |context| plan_one_hot(context, axis))
    }),
];

/// The elements converted to another type.
fn converted(view: &View<'_>, dtype: DType) -> Result<Tensor, EngineError> {
    let mut tensor = Tensor::zeros(dtype, view.shape()).map_err(|error| EngineError::Memory(error.0))?;
    let spec = |dtype| TensorSpec::contiguous(dtype, view.shape());
    let from = TensorSpec { strides: view.strides().into(), ..spec(view.dtype()) };
    let map = Map::new(cast(view.dtype(), dtype), [layout(&spec(dtype)), layout(&from)])?;
    map.run(&[view], &mut tensor.view_mut(), &vedette_runtime::ThreadPool::new(1));
    Ok(tensor)
}

/// The one element of a known input, as a float or an integer.
fn known_number(input: &PlanInput<'_>, dtype: DType) -> Result<Option<Tensor>, EngineError> {
    match &input.value {
        None => Ok(None),
        Some(view) if view.len() == 1 => converted(view, dtype).map(Some),
        Some(view) => invalid(format!("expected one element, got shape {:?}", view.shape())),
    }
}

fn plan_range(context: &PlanContext<'_>) -> Result<Planned, EngineError> {
    let dtype = context.input(0)?.spec.dtype;
    let wide = if dtype.is_float() { DType::F64 } else { DType::I64 };
    let mut bounds = Vec::with_capacity(3);
    for i in 0..3 {
        match known_number(context.input(i)?, wide)? {
            Some(bound) => bounds.push(bound),
            None => return Ok(Planned::NeedsValue(i)),
        }
    }
    let count = |exact: f64| {
        if !exact.is_finite() || exact > context.memory_limit as f64 {
            return invalid(format!("a range of {exact} elements"));
        }
        Ok(exact.max(0.0) as usize)
    };
    let values = if dtype.is_float() {
        let [start, limit, delta] = [0, 1, 2].map(|i| bounds[i].slice::<f64>()[0]);
        let count = count(((limit - start) / delta).ceil())?;
        context.zeros(dtype, &[count])?;
        let values: Vec<f64> = (0..count).map(|i| start + i as f64 * delta).collect();
        Tensor::from_slice(&[count], &values)
    } else {
        let [start, limit, delta] = [0, 1, 2].map(|i| i128::from(bounds[i].slice::<i64>()[0]));
        if delta == 0 {
            return invalid("a range has step 0");
        }
        let (span, towards) = ((limit - start).abs(), (limit - start).signum() == delta.signum());
        let count = count(if towards { ((span - 1) / delta.abs() + 1) as f64 } else { 0.0 })?;
        context.zeros(dtype, &[count])?;
        let values: Vec<i64> = (0..count).map(|i| (start + i as i128 * delta) as i64).collect();
        Tensor::from_slice(&[count], &values)
    };
    plan_value(converted(&values.view(), dtype)?)
}

fn eye_like(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let dtype = if attributes.has("dtype") { Some(attributes.dtype("dtype")?) } else { None };
    let k = attributes.int_or("k", 0)?;
    operator(move |context| {
        let spec = &context.input(0)?.spec;
        let [rows, columns] = match spec.shape[..] {
            [size] => [size, size],
            [rows, columns] => [rows, columns],
            _ => return invalid(format!("expected a matrix, got shape {:?}", &spec.shape[..])),
        };
        context.zeros(DType::I64, &[rows, columns])?;
        let mut ones = vec![0i64; rows * columns];
        for row in 0..rows {
            let column = usize::try_from((row as i64).saturating_add(k)).ok();
            if let Some(column) = column.filter(|&column| column < columns) {
                ones[row * columns + column] = 1;
            }
        }
        let ones = Tensor::from_slice(&[rows, columns], &ones);
        plan_value(converted(&ones.view(), dtype.unwrap_or(spec.dtype))?)
    })
}

fn plan_trilu(context: &PlanContext<'_>, upper: bool) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    if spec.shape.len() < 2 {
        return invalid(format!("expected matrices, got shape {:?}", &spec.shape[..]));
    }
    let k = match context.optional(1) {
        None => 0,
        Some(k) => match known_scalar::<i64>(k)? {
            Some(k) => k,
            None => return Ok(Planned::NeedsValue(1)),
        },
    };
    let output = TensorSpec::contiguous(spec.dtype, &spec.shape);
    let copy = Copy::new(&spec.shape, &spec.strides, &output.strides, spec.dtype.size());
    plan_step(output, move |context| {
        copy.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
        keep_triangle(&mut context.outputs[0], k, upper, context.pool);
    })
}

fn plan_one_hot(context: &PlanContext<'_>, axis: i64) -> Result<Planned, EngineError> {
    let (indices, values) = (&context.input(0)?.spec, &context.input(2)?.spec);
    let Some(depth) = known_number(context.input(1)?, DType::I64)? else { return Ok(Planned::NeedsValue(1)) };
    let Ok(depth) = usize::try_from(depth.slice::<i64>()[0]) else { return invalid("a negative depth") };
    if values.shape[..] != [2] {
        return invalid(format!("expected the off and on values, got shape {:?}", &values.shape[..]));
    }
    let axis = axis_of(axis, indices.shape.len() + 1)?;
    let mut shape: Dims = indices.shape.clone();
    shape.insert(axis, depth);
    let output = TensorSpec::contiguous(values.dtype, &shape);
    super::planning::check(context, &output)?;
    let plan = OneHot::new(layout(indices), axis, layout(&output))?;
    let step = step(move |context| {
        let values = input(context.inputs, 2);
        // SAFETY: elements 0 and 1 of the two values.
        let [off, on] = [0, 1]
            .map(|i| unsafe { values.reinterpret(Dims::new(), Default::default(), values.strides()[0] * i) });
        plan.run(input(context.inputs, 0), &off, &on, &mut context.outputs[0]);
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes: 0, step })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_simd::Isa;

    fn range(start: i32, limit: i32, delta: i32) -> Vec<i32> {
        let bounds = [start, limit, delta].map(|bound| Tensor::from_slice(&[], &[bound]));
        let inputs: Vec<Option<PlanInput<'_>>> = bounds
            .iter()
            .map(|bound| {
                let spec = TensorSpec::contiguous(DType::I32, &[]);
                Some(PlanInput { spec, value: Some(bound.view()), constant: true })
            })
            .collect();
        let context = PlanContext {
            inputs: &inputs,
            outputs: 1,
            isa: Isa::SCALAR,
            threads: 1,
            preferred_order: None,
            rounded: false,
            memory_limit: 1 << 20,
            row_padding: None,
        };
        match plan_range(&context) {
            Ok(Planned::Values(values)) => values[0].slice::<i32>().to_vec(),
            _ => unreachable!("the bounds are known"),
        }
    }

    #[test]
    fn ranges_stop_before_their_limit_in_both_directions() {
        assert_eq!(range(10, 6, -3), [10, 7]);
        assert_eq!(range(10, 4, -3), [10, 7]);
        assert_eq!(range(0, 7, 3), [0, 3, 6]);
        assert_eq!(range(0, 6, 3), [0, 3]);
        assert!(range(3, 3, 1).is_empty() && range(0, 5, -1).is_empty());
    }
}
