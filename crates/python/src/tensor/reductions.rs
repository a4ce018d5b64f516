//! Sums, means, extremes and softmax along axes.

use super::operand::Operand;
use super::target::{c_order, write};
use crate::errors::INPUT;
use crate::ndarray::{input_error, level, output, pool};
use pyo3::prelude::*;
use vedette_tensor::elementwise::Layout;
use vedette_tensor::reduce::{ArgReduce, Reduce, ReduceOp};
use vedette_tensor::softmax::Softmax;
use vedette_tensor::{DType, Dims, Strides, TensorError, View, ViewMut, is_dense};

/// Axes counted from the front, each once.
fn resolve(py: Python<'_>, axes: &[isize], rank: usize) -> PyResult<Dims> {
    let mut found = Dims::new();
    for &axis in axes {
        let counted = if axis < 0 { axis + rank as isize } else { axis };
        match usize::try_from(counted) {
            Ok(counted) if counted < rank && !found.contains(&counted) => found.push(counted),
            Ok(counted) if counted < rank => {
                return Err(input_error(py, format!("axis {axis} is named twice in {axes:?}")));
            }
            _ => return Err(input_error(py, format!("axis {axis} is out of range for {rank} axes"))),
        }
    }
    Ok(found)
}

/// A shape without these axes, or with 1 in their place.
fn reduced(shape: &[usize], axes: &[usize], keep: bool) -> Dims {
    let dims = shape.iter().enumerate();
    dims.filter_map(|(axis, &dim)| match axes.contains(&axis) {
        false => Some(dim),
        true => keep.then_some(1),
    })
    .collect()
}

/// Strides of an output that lacks the axes, or of one that has them, for a shape with 1 in their place.
fn with_axes(rank: usize, axes: &[usize], strides: &[isize], keep: bool) -> Strides {
    let mut own = strides.iter().copied();
    (0..rank).map(|axis| if keep || !axes.contains(&axis) { own.next().unwrap_or(1) } else { 1 }).collect()
}

fn layout<'a>(dtype: DType, shape: &'a [usize], strides: &'a [isize]) -> Layout<'a> {
    Layout { dtype, shape, strides }
}

/// The output with 1 in place of the axes that were reduced.
fn spread<'a>(out: &'a mut ViewMut<'_>, shape: &Dims, strides: &Strides) -> ViewMut<'a> {
    // SAFETY: the same elements: axes of 1 add none.
    unsafe { ViewMut::from_raw_parts(out.dtype(), shape.clone(), strides.clone(), out.as_mut_ptr()) }
}

/// Sum, mean, largest or smallest over axes, over all where there are none.
#[pyfunction]
#[pyo3(signature = (op, x, axes, keepdims=false, out=None, threads=0, isa=None))]
pub fn reduce<'py>(
    py: Python<'py>,
    op: &str,
    x: &Bound<'py, PyAny>,
    axes: Option<Vec<isize>>,
    keepdims: bool,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let x = Operand::new(x, DType::F32)?;
    let (isa, dtype, rank) = (level(py, isa)?, x.dtype(), x.shape().len());
    let axes = match axes {
        Some(axes) => resolve(py, &axes, rank)?,
        None => (0..rank).collect(),
    };
    let (op, floats) = match op {
        "sum" => (ReduceOp::Sum, true),
        "mean" => (ReduceOp::Mean, true),
        "max" => (ReduceOp::Max, false),
        "min" => (ReduceOp::Min, false),
        _ => return Err(input_error(py, format!("no reduction {op:?}"))),
    };
    if floats && !matches!(dtype, DType::F32 | DType::F64) {
        return Err(input_error(py, format!("expected float32 or float64 values, got {dtype}")));
    }
    if op != ReduceOp::Sum && axes.iter().any(|&axis| x.shape()[axis] == 0) {
        return Err(input_error(py, format!("nothing to reduce: shape {:?} over axes {axes:?}", x.shape())));
    }
    let full = reduced(x.shape(), &axes, true);
    let shape = reduced(x.shape(), &axes, keepdims);
    let inputs: Vec<_> = x.array().into_iter().collect();
    let result = output(py, out, dtype, &shape, &inputs, false)?;
    let (pool, view) = (pool(threads), x.view());
    let mut outcome: Result<(), TensorError> = Ok(());
    write(
        py,
        &result,
        |strides| is_dense(&shape, strides),
        c_order,
        view.len(),
        &pool,
        |to| {
            let strides = with_axes(rank, &axes, to.strides(), keepdims);
            let plan = Reduce::new(
                op,
                layout(dtype, view.shape(), view.strides()),
                &axes,
                layout(dtype, &full, &strides),
                isa,
            );
            outcome = plan.map(|plan| plan.run(&view, None, &mut spread(to, &full, &strides), &pool));
        },
    )?;
    outcome.map_err(|error| INPUT.error(py, error.0))?;
    finished(result.object.into_any(), &shape, out.is_none())
}

/// A number where no axis is left and none was given to write to.
fn finished<'py>(result: Bound<'py, PyAny>, shape: &[usize], new: bool) -> PyResult<Bound<'py, PyAny>> {
    if shape.is_empty() && new { result.get_item(()) } else { Ok(result) }
}

/// The place of the largest element along an axis.
#[pyfunction]
#[pyo3(signature = (x, axis, keepdims=false, out=None, threads=0))]
pub fn argmax<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    axis: isize,
    keepdims: bool,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let x = Operand::new(x, DType::F32)?;
    let (dtype, rank) = (x.dtype(), x.shape().len());
    let axes = resolve(py, &[axis], rank)?;
    if x.shape()[axes[0]] == 0 {
        return Err(input_error(py, format!("nothing to search: shape {:?} along axis {axis}", x.shape())));
    }
    let full = reduced(x.shape(), &axes, true);
    let shape = reduced(x.shape(), &axes, keepdims);
    let inputs: Vec<_> = x.array().into_iter().collect();
    let result = output(py, out, DType::I64, &shape, &inputs, false)?;
    let (pool, view) = (pool(threads), x.view());
    let mut outcome = Ok(());
    write(
        py,
        &result,
        |strides| is_dense(&shape, strides),
        c_order,
        view.len(),
        &pool,
        |to| {
            let strides = with_axes(rank, &axes, to.strides(), keepdims);
            let plan = ArgReduce::new(
                layout(dtype, view.shape(), view.strides()),
                axes[0],
                layout(DType::I64, &full, &strides),
                true,
                false,
            );
            outcome = plan.map(|plan| plan.run(&view, &mut spread(to, &full, &strides), &pool));
        },
    )?;
    outcome.map_err(|error| INPUT.error(py, error.0))?;
    finished(result.object.into_any(), &shape, out.is_none())
}

/// Softmax along an axis.
#[pyfunction]
#[pyo3(signature = (x, axis, out=None, threads=0, isa=None))]
pub fn softmax<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    axis: isize,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let x = Operand::new(x, DType::F32)?;
    let (isa, dtype) = (level(py, isa)?, x.dtype());
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(input_error(py, format!("expected float32 or float64 values, got {dtype}")));
    }
    let axis = resolve(py, &[axis], x.shape().len())?[0];
    let shape: Dims = x.shape().into();
    let inputs: Vec<_> = x.array().into_iter().collect();
    let result = output(py, out, dtype, &shape, &inputs, true)?;
    if result.len() == 0 {
        return Ok(result.object.into_any());
    }
    let (pool, view): (_, View<'_>) = (pool(threads), x.view());
    let mut outcome = Ok(());
    write(
        py,
        &result,
        |strides| is_dense(&shape, strides),
        c_order,
        8 * view.len(),
        &pool,
        |to| {
            let plan = Softmax::new(
                layout(dtype, view.shape(), view.strides()),
                axis,
                layout(dtype, to.shape(), to.strides()),
                false,
                isa,
            );
            outcome = plan.map(|plan| plan.run(&view, to, &pool));
        },
    )?;
    outcome.map_err(|error| INPUT.error(py, error.0))?;
    Ok(result.object.into_any())
}
