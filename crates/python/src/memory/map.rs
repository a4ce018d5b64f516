use std::path::PathBuf;

use numpy::PyArrayDescrMethods;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use vedette_memory::MappedFile;

use super::shape;
use crate::{array, errors};

/// Base of the arrays over a mapped file.
#[pyclass(frozen, module = "vedette._native")]
struct FileOwner(MappedFile);

#[pyfunction]
#[pyo3(signature = (path, dtype, shape, offset))]
pub fn map_file<'py>(
    py: Python<'py>,
    path: PathBuf,
    dtype: &Bound<'py, PyAny>,
    shape: Option<&Bound<'py, PyAny>>,
    offset: isize,
) -> PyResult<Bound<'py, PyAny>> {
    let descriptor = shape::descriptor(dtype)?;
    let offset = shape::size(py, "offset", offset)?;
    let file = py.detach(|| MappedFile::open(&path)).map_err(|error| match error.raw_os_error() {
        // Python picks the subclass by the number, which it puts before the text itself.
        Some(number) => {
            let text = error.to_string();
            let text = text.split_once(" (os error").map_or(&*text, |(text, _)| text).to_owned();
            PyOSError::new_err((number, text, path.clone().into_os_string()))
        }
        None => errors::INPUT.error(py, format!("{} cannot be mapped: {error}", path.display())),
    })?;
    let Some(rest) = file.len().checked_sub(offset) else {
        let message = format!("offset {offset} is beyond the {} bytes of {}", file.len(), path.display());
        return Err(errors::INPUT.error(py, message));
    };
    let size = descriptor.itemsize();
    let dims = match shape {
        Some(shape) => shape::dims(shape)?,
        None if rest % size == 0 => vec![(rest / size) as isize],
        None => {
            let message = format!(
                "the {rest} bytes of {} from {offset} on are no whole number of {size}-byte elements; give a shape",
                path.display()
            );
            return Err(errors::INPUT.error(py, message));
        }
    };
    let wanted = shape::bytes(py, &dims, &descriptor)?;
    if wanted > rest {
        let message = format!(
            "shape {dims:?} of {descriptor} takes {wanted} bytes; {} has {rest} from {offset} on",
            path.display()
        );
        return Err(errors::INPUT.error(py, message));
    }
    let owner = Bound::new(py, FileOwner(file))?;
    let data = owner.get().0[offset..].as_ptr().cast_mut();
    // SAFETY: the file has the shape's bytes from the offset on, and stays mapped while its owner lives. Without the
    // flag for writing NumPy only reads them.
    unsafe { array::over(descriptor, dims, data, 0, owner.into_any()) }
}
