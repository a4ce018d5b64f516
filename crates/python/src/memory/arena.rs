use std::ffi::c_int;

use numpy::npyffi::NPY_ARRAY_WRITEABLE;
use pyo3::ffi;
use pyo3::prelude::*;
use vedette_memory::arena::{self as memory, ArenaError, Span};

use super::{export, shape};
use crate::{array, errors};

fn of_arena(py: Python<'_>, error: &ArenaError) -> PyErr {
    let class = match error {
        ArenaError::Full { .. } | ArenaError::OutOfMemory(_) => &errors::MEMORY_LIMIT,
        ArenaError::InUse { .. } => &errors::LEASE,
        ArenaError::Alignment(_) => &errors::INPUT,
    };
    class.error(py, error.to_string())
}

/// Memory handed out in turn from one block of capacity_bytes and given up all at once.
///
/// A reset is refused while arrays of the arena live, so none of them ever sees its bytes handed out anew.
#[pyclass(frozen, weakref, module = "vedette._native")]
pub struct Arena {
    arena: memory::Arena,
}

/// Base of an array in an arena.
#[pyclass(frozen, module = "vedette._native")]
struct SpanOwner(Span);

#[pymethods]
impl SpanOwner {
    /// NumPy asks the base of an array whether it may be made writable again.
    ///
    /// # Safety
    /// The interpreter calls this with a view to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let (pointer, len) = (slf.get().0.as_raw(), slf.get().0.len());
        // SAFETY: the span ends when its owner dies, which the view prevents.
        unsafe { export::fill(slf.as_any(), view, flags, pointer, len) }
    }
}

#[pymethods]
impl Arena {
    #[new]
    fn new(py: Python<'_>, capacity_bytes: isize) -> PyResult<Arena> {
        let capacity = shape::size(py, "capacity_bytes", capacity_bytes)?;
        let arena = memory::Arena::new(capacity).map_err(|error| of_arena(py, &error))?;
        Ok(Arena { arena })
    }

    #[pyo3(signature = (shape, dtype, *, align=64))]
    fn empty<'py>(
        &self,
        py: Python<'py>,
        shape: &Bound<'py, PyAny>,
        dtype: &Bound<'py, PyAny>,
        align: isize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let descriptor = shape::descriptor(dtype)?;
        let dims = shape::dims(shape)?;
        let align = shape::size(py, "align", align)?;
        let span = self.arena.alloc(shape::bytes(py, &dims, &descriptor)?, align);
        let span = span.map_err(|error| of_arena(py, &error))?;
        let data = span.as_raw();
        let owner = Bound::new(py, SpanOwner(span))?;
        // SAFETY: the span holds the shape's bytes, stays where it is, and is lent to this array alone.
        unsafe { array::over(descriptor, dims, data, NPY_ARRAY_WRITEABLE, owner.into_any()) }
    }

    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.arena.reset().map_err(|error| of_arena(py, &error))
    }

    fn detach(&self, py: Python<'_>) -> PyResult<()> {
        self.arena.detach().map_err(|error| of_arena(py, &error))
    }

    #[getter]
    fn capacity_bytes(&self) -> usize {
        self.arena.capacity()
    }

    #[getter]
    fn used_bytes(&self) -> usize {
        self.arena.used()
    }

    #[getter]
    fn peak_bytes(&self) -> usize {
        self.arena.peak()
    }

    #[getter]
    fn arrays(&self) -> usize {
        self.arena.spans()
    }
}
