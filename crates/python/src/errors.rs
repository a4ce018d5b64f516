//! Errors of the native crates as the Python classes of `vedette.errors`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vedette_engine::EngineError;

/// A class of `vedette.errors`, imported when it is first raised.
pub struct ErrorClass {
    name: &'static str,
    class: PyOnceLock<Py<PyType>>,
}

impl ErrorClass {
    const fn new(name: &'static str) -> ErrorClass {
        ErrorClass { name, class: PyOnceLock::new() }
    }

    /// An error of this class.
    pub fn error(&self, py: Python<'_>, message: impl Into<String>) -> PyErr {
        match self.class.import(py, "vedette.errors", self.name) {
            Ok(class) => PyErr::from_type(class.clone(), (message.into(),)),
            Err(error) => error,
        }
    }
}

pub static IMAGE: ErrorClass = ErrorClass::new("ImageError");
pub static LEASE: ErrorClass = ErrorClass::new("LeaseError");
pub static INPUT: ErrorClass = ErrorClass::new("InputError");
pub static INVALID_MODEL: ErrorClass = ErrorClass::new("InvalidModelError");
pub static UNSUPPORTED_MODEL: ErrorClass = ErrorClass::new("UnsupportedModelError");
pub static MEMORY_LIMIT: ErrorClass = ErrorClass::new("MemoryLimitError");
pub static NATIVE: ErrorClass = ErrorClass::new("NativeError");

/// The Python error of an engine's error.
pub fn of_engine(py: Python<'_>, error: EngineError) -> PyErr {
    let class = match error {
        EngineError::Invalid(_) => &INVALID_MODEL,
        EngineError::Unsupported(_) => &UNSUPPORTED_MODEL,
        EngineError::Input(_) => &INPUT,
        EngineError::Memory(_) => &MEMORY_LIMIT,
    };
    class.error(py, error.to_string())
}

/// Runs native work without the GIL; a panic becomes a `NativeError`.
pub fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, EngineError> + Send,
) -> PyResult<T> {
    compute(py, work)?.map_err(|error| of_engine(py, error))
}

/// Runs native work that cannot fail without the GIL; a panic becomes a `NativeError`.
pub fn compute<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work))).map_err(|payload| of_panic(py, payload.as_ref()))
}

/// The `NativeError` of a panic.
pub fn of_panic(py: Python<'_>, payload: &(dyn Any + Send)) -> PyErr {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    NATIVE.error(py, format!("a defect in the native core: {text}"))
}
