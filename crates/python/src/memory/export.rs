use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

/// Fills a view of memory that `owner` keeps and that may be written.
///
/// # Safety
/// `view` is one that the interpreter wants filled; the memory stays where it is until the view is released.
pub unsafe fn fill(
    owner: &Bound<'_, PyAny>,
    view: *mut ffi::Py_buffer,
    flags: c_int,
    pointer: *mut u8,
    len: usize,
) -> PyResult<()> {
    // SAFETY: the view takes a reference to its owner, and nothing but views touches the memory.
    let filled = unsafe {
        ffi::PyBuffer_FillInfo(view, owner.as_ptr(), pointer.cast(), len as ffi::Py_ssize_t, 0, flags)
    };
    if filled < 0 { Err(PyErr::fetch(owner.py())) } else { Ok(()) }
}
