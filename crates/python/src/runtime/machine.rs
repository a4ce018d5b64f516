use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What the CPU has.
#[pyfunction]
pub fn cpu_features(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let cpu = vedette_simd::features();
    let facts = PyDict::new(py);
    facts.set_item("avx2", cpu.avx2)?;
    facts.set_item("avx512", cpu.avx512)?;
    facts.set_item("avx512_vnni", cpu.avx512_vnni)?;
    facts.set_item("avx512_vbmi", cpu.avx512_vbmi)?;
    facts.set_item("avx512_bf16", cpu.avx512_bf16)?;
    facts.set_item("avx_vnni", cpu.avx_vnni)?;
    facts.set_item("amx_int8", cpu.amx_int8)?;
    facts.set_item("amx_bf16", cpu.amx_bf16)?;
    Ok(facts)
}

/// The level in use.
#[pyfunction]
pub fn isa() -> &'static str {
    vedette_simd::isa().name()
}

/// Every level of this CPU, weakest first.
#[pyfunction]
pub fn available_isas() -> Vec<&'static str> {
    vedette_simd::Isa::available().into_iter().map(vedette_simd::Isa::name).collect()
}

/// Cores the process may use.
#[pyfunction]
pub fn effective_cores() -> usize {
    vedette_runtime::effective_cores()
}

/// Threads used unless told otherwise.
#[pyfunction]
pub fn get_num_threads() -> usize {
    vedette_runtime::num_threads()
}

/// Sets the threads used unless told otherwise; 0 restores the default.
#[pyfunction]
pub fn set_num_threads(threads: usize) {
    vedette_runtime::set_num_threads(threads);
}
