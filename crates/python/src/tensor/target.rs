//! Where results go: into the output itself, or by way of scratch where its strides are not what a kernel writes.

use super::operand::{is_regular, strides};
use crate::errors::MEMORY_LIMIT;
use crate::ndarray::{Array, work};
use pyo3::prelude::*;
use vedette_memory::default_pool;
use vedette_runtime::ThreadPool;
use vedette_tensor::movement::copy;
use vedette_tensor::{DType, Dims, Strides, View, ViewMut, contiguous_strides};

/// Calls `compute` with a view to write: of `out` where `direct` says so of its strides, else of scratch in the order of
/// `order`, which is then copied to `out`. `cost` counts elements, as for [`work`].
pub fn write(
    py: Python<'_>,
    out: &Array<'_>,
    direct: impl FnOnce(&[isize]) -> bool,
    order: impl FnOnce(&[usize]) -> Strides,
    cost: usize,
    pool: &ThreadPool,
    compute: impl FnOnce(&mut ViewMut<'_>) + Send,
) -> PyResult<()> {
    let (shape, dtype) = (Dims::from_slice(out.shape()), out.dtype);
    let regular = is_regular(out);
    let steps = strides(out);
    if regular && direct(&steps) {
        // SAFETY: the array's own elements, each once (as was checked), which nothing else uses meanwhile.
        let mut view = unsafe { ViewMut::from_raw_parts(dtype, shape, steps, out.pointer()) };
        return work(py, cost, move || compute(&mut view));
    }
    let bytes = out.len() * dtype.size();
    let scratch = default_pool()
        .acquire(bytes)
        .map_err(|error| MEMORY_LIMIT.error(py, format!("scratch for the result: {error}")))?;
    let order = order(&shape);
    // SAFETY: the strides are dense, so they reach exactly the scratch's bytes, which this call alone uses.
    let mut made = unsafe { ViewMut::from_raw_parts(dtype, shape.clone(), order, scratch.as_raw()) };
    if regular {
        // SAFETY: as above, of the output.
        let mut to = unsafe { ViewMut::from_raw_parts(dtype, shape, steps, out.pointer()) };
        return work(py, cost, move || {
            compute(&mut made);
            let copied = copy(&made.as_view(), &mut to, pool);
            debug_assert!(copied.is_ok());
        });
    }
    // Odd strides: byte by byte, in the order of the output's shape.
    let size = dtype.size();
    let mut bytes_shape = shape.clone();
    bytes_shape.push(size);
    let with_bytes = |strides: &[isize], scale: isize| -> Strides {
        strides.iter().map(|stride| stride * scale).chain([1]).collect()
    };
    let to_strides = with_bytes(out.strides(), 1);
    let from_strides = with_bytes(made.strides(), size as isize);
    // SAFETY: the bytes of the output's elements, and those of the scratch.
    let (from, mut to) = unsafe {
        (
            View::from_raw_parts(DType::U8, bytes_shape.clone(), from_strides, scratch.as_ptr()),
            ViewMut::from_raw_parts(DType::U8, bytes_shape, to_strides, out.pointer()),
        )
    };
    work(py, cost, move || {
        compute(&mut made);
        let copied = copy(&from, &mut to, pool);
        debug_assert!(copied.is_ok());
    })
}

/// C order, for [`write`].
pub fn c_order(shape: &[usize]) -> Strides {
    contiguous_strides(shape)
}
