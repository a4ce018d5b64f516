//! Matrix products.

use super::operand::Operand;
use super::target::{c_order, write};
use crate::errors::INPUT;
use crate::ndarray::{Array, input_error, level, output, pool};
use pyo3::prelude::*;
use smallvec::SmallVec;
use vedette_tensor::DType;
use vedette_tensor::matmul::{MatMulOperands, matmul_shape, multiply};

/// `a @ b`
#[pyfunction]
#[pyo3(signature = (a, b, out=None, threads=0, isa=None))]
pub fn matmul<'py>(
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = a.py();
    let [a, b] = Operand::pair(a, b)?;
    let (isa, dtype) = (level(py, isa)?, a.dtype());
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(input_error(py, format!("expected float32 or float64 matrices, got {dtype}")));
    }
    let (left, right) = (a.view(), b.view());
    let operands = MatMulOperands {
        a_shape: left.shape(),
        a_strides: left.strides(),
        trans_a: false,
        b_shape: right.shape(),
        b_strides: right.strides(),
        trans_b: false,
    };
    let shape = matmul_shape(&operands).map_err(|error| INPUT.error(py, error.0))?;
    let inputs: SmallVec<[&Array<'_>; 2]> = [a.array(), b.array()].into_iter().flatten().collect();
    let result = output(py, out, dtype, &shape, &inputs, false)?;
    let pool = pool(threads);
    // A multiply-accumulate takes about an eighth of the time of an element of other operations.
    let depth = left.shape().last().copied().unwrap_or(1);
    let cost = result.len().saturating_mul(depth) / 8;
    let vector = right.rank() == 1;
    let direct =
        |strides: &[isize]| vector || shape.last().is_none_or(|&n| n <= 1) || strides.last() == Some(&1);
    let mut outcome = Ok(());
    write(py, &result, direct, c_order, cost, &pool, |to| {
        outcome = multiply(isa, &left, &right, to, &pool);
    })?;
    outcome.map_err(|error| INPUT.error(py, error.0))?;
    if shape.is_empty() && out.is_none() {
        return result.object.get_item(());
    }
    Ok(result.object.into_any())
}
