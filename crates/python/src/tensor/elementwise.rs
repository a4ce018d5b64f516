//! Sums, differences, products and quotients, with broadcasting and in place.

use super::operand::Operand;
use super::target::{c_order, write};
use crate::errors::INPUT;
use crate::ndarray::{Array, input_error, level, output, pool, work};
use pyo3::prelude::*;
use smallvec::SmallVec;
use vedette_runtime::ThreadPool;
use vedette_tensor::elementwise::{BinaryOp, Kernel, Layout, Map, binary, scale as by_factor};
use vedette_tensor::{DType, Dims, View, broadcast_shape, is_dense};

macro_rules! operation {
    ($(#[$doc:meta])* $name:ident, $op:ident) => {
        $(#[$doc])*
        #[pyfunction]
        #[pyo3(signature = (a, b, out=None, threads=0, isa=None))]
        pub fn $name<'py>(
            a: &Bound<'py, PyAny>,
            b: &Bound<'py, PyAny>,
            out: Option<&Bound<'py, PyAny>>,
            threads: usize,
            isa: Option<&str>,
        ) -> PyResult<Bound<'py, PyAny>> {
            combine(BinaryOp::$op, Operand::pair(a, b)?, a.py(), out, threads, isa)
        }
    };
}

operation!(
    /// `a + b`
    add, Add
);
operation!(
    /// `a - b`
    subtract, Sub
);
operation!(
    /// `a * b`
    multiply, Mul
);
operation!(
    /// `a / b`
    divide, Div
);

/// `x * factor`
#[pyfunction]
#[pyo3(signature = (x, factor, out=None, threads=0, isa=None))]
pub fn scale<'py>(
    x: &Bound<'py, PyAny>,
    factor: f64,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = x.py();
    let x = Operand::new(x, DType::F32)?;
    let (isa, dtype) = (level(py, isa)?, x.dtype());
    let Some(kernel) = by_factor(factor, dtype, isa) else {
        return Err(input_error(py, format!("expected float32 or float64 values, got {dtype}")));
    };
    let inputs: SmallVec<[&Array<'_>; 2]> = x.array().into_iter().collect();
    let result = output(py, out, dtype, x.shape(), &inputs, true)?;
    let (pool, len) = (pool(threads), result.len());
    if let Some(x) = x.array()
        && x.is_contiguous()
        && result.is_contiguous()
    {
        let pointers = Pointers([result.pointer(), x.pointer()]);
        // SAFETY: the arrays hold `len` elements in order; the output is the input or apart from it.
        work(py, len, || unsafe { kernel.run_contiguous(pointers.get(), len, &pool) })?;
        return Ok(result.object.into_any());
    }
    run(py, kernel, [&x.view()], &result, &pool)?;
    Ok(result.object.into_any())
}

fn combine<'py>(
    op: BinaryOp,
    [a, b]: [Operand<'py>; 2],
    py: Python<'py>,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let (isa, dtype) = (level(py, isa)?, a.dtype());
    if op == BinaryOp::Div && !dtype.is_float() {
        return Err(input_error(py, format!("expected floating-point values to divide, got {dtype}")));
    }
    let Some(kernel) = binary(op, dtype, isa) else {
        return Err(input_error(py, format!("no arithmetic of {dtype} values")));
    };
    let shape: Dims = if a.shape() == b.shape() {
        a.shape().into()
    } else {
        broadcast_shape(a.shape(), b.shape()).map_err(|error| INPUT.error(py, error.0))?
    };
    let inputs: SmallVec<[&Array<'_>; 2]> = [a.array(), b.array()].into_iter().flatten().collect();
    let result = output(py, out, dtype, &shape, &inputs, true)?;
    let pool = pool(threads);
    let len = result.len();
    if let (Some(a), Some(b)) = (a.array(), b.array())
        && a.shape() == b.shape()
        && a.is_contiguous()
        && b.is_contiguous()
        && result.is_contiguous()
    {
        let pointers = Pointers([result.pointer(), a.pointer(), b.pointer()]);
        // SAFETY: the arrays hold `len` elements in order; the output is one of the inputs or apart from both.
        work(py, len, || unsafe { kernel.run_contiguous(pointers.get(), len, &pool) })?;
        return Ok(result.object.into_any());
    }
    run(py, kernel, [&a.view(), &b.view()], &result, &pool)?;
    Ok(result.object.into_any())
}

/// Runs a kernel over views that broadcast to the output.
fn run<const N: usize, const M: usize>(
    py: Python<'_>,
    kernel: Kernel<N>,
    inputs: [&View<'_>; M],
    out: &Array<'_>,
    pool: &ThreadPool,
) -> PyResult<()> {
    let shape = Dims::from_slice(out.shape());
    let mut outcome = Ok(());
    write(
        py,
        out,
        |strides| is_dense(&shape, strides),
        c_order,
        out.len(),
        pool,
        |to| {
            let map = {
                let dtype = to.dtype();
                let layouts = std::array::from_fn(|k| match k.checked_sub(1) {
                    None => Layout { dtype, shape: to.shape(), strides: to.strides() },
                    Some(k) => Layout { dtype, shape: inputs[k].shape(), strides: inputs[k].strides() },
                });
                Map::new(kernel, layouts)
            };
            outcome = map.map(|map| map.run(&inputs, to, pool));
        },
    )?;
    outcome.map_err(|error| INPUT.error(py, error.0))
}

/// Pointers that go to where the GIL is released.
#[derive(Clone, Copy)]
struct Pointers<const N: usize>([*mut u8; N]);

// SAFETY: they are only values here; the arrays they point into outlive the work.
unsafe impl<const N: usize> Send for Pointers<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for Pointers<N> {}

impl<const N: usize> Pointers<N> {
    fn get(self) -> [*mut u8; N] {
        self.0
    }
}
