//! What an array over raw memory is asked to look like, checked.

use numpy::npyffi::npy_intp;
use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::errors;

/// The lengths of the axes: an int or a sequence of them.
pub fn dims(shape: &Bound<'_, PyAny>) -> PyResult<Vec<npy_intp>> {
    let dims: Vec<npy_intp> = match shape.cast::<PyTuple>() {
        Ok(tuple) => tuple.iter_borrowed().map(|dim| dim.extract()).collect::<PyResult<_>>(),
        Err(_) => shape.extract::<npy_intp>().map(|dim| vec![dim]).or_else(|_| shape.extract()),
    }
    .map_err(|_| {
        errors::INPUT.error(shape.py(), format!("expected a shape (an int or ints), got {shape}"))
    })?;
    if dims.iter().any(|&dim| dim < 0) {
        return Err(errors::INPUT.error(shape.py(), format!("a shape cannot be negative, got {shape}")));
    }
    Ok(dims)
}

/// An element type that raw bytes can be.
pub fn descriptor<'py>(dtype: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDescr>> {
    let py = dtype.py();
    let refuse = |why: &str| Err(errors::INPUT.error(py, format!("dtype {dtype} {why}")));
    if dtype.is_none() {
        return refuse("is no element type");
    }
    let Ok(descriptor) = PyArrayDescr::new(py, dtype) else { return refuse("is no element type") };
    if descriptor.has_object() {
        return refuse("holds Python objects; raw memory cannot");
    }
    if descriptor.itemsize() == 0 {
        return refuse("has no size");
    }
    Ok(descriptor)
}

/// Bytes of an array.
pub fn bytes(py: Python<'_>, dims: &[npy_intp], descriptor: &Bound<'_, PyArrayDescr>) -> PyResult<usize> {
    // NumPy refuses what does not fit a signed size.
    dims.iter()
        .try_fold(descriptor.itemsize(), |bytes, &dim| bytes.checked_mul(dim as usize))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| errors::MEMORY_LIMIT.error(py, format!("no memory holds an array of shape {dims:?}")))
}

/// A size given by a caller.
pub fn size(py: Python<'_>, name: &str, value: isize) -> PyResult<usize> {
    usize::try_from(value)
        .map_err(|_| errors::INPUT.error(py, format!("{name} cannot be negative, got {value}")))
}
