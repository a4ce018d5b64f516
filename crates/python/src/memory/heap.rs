use pyo3::prelude::*;

/// Gives freed memory of the C heap back to the system.
#[pyfunction]
pub fn trim_heap(py: Python<'_>) {
    py.detach(vedette_memory::trim_heap);
}
