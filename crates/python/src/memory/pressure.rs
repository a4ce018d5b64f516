use std::path::PathBuf;

use pyo3::prelude::*;
use vedette_memory::pressure::{self as memory, Reading, Settings, Thresholds};

use crate::errors;

type Facts = (u64, u64, String, Option<f64>, Option<f64>);

fn facts(reading: Reading) -> Facts {
    (reading.used, reading.limit, reading.scope, reading.some_stalled, reading.all_stalled)
}

#[pyclass(frozen, subclass, weakref, module = "vedette._native")]
pub struct PressureMonitor {
    monitor: memory::Monitor,
}

#[pymethods]
impl PressureMonitor {
    #[new]
    #[pyo3(signature = (callback, *, warning, critical, trim, root, process_limit_bytes))]
    fn new(
        py: Python<'_>,
        callback: Option<Py<PyAny>>,
        warning: f64,
        critical: f64,
        trim: bool,
        root: PathBuf,
        process_limit_bytes: Option<u64>,
    ) -> PyResult<PressureMonitor> {
        if !(0.0 < warning && warning <= critical && critical <= 1.0) {
            let message = format!("warning and critical must rise from 0 to 1, got {warning} and {critical}");
            return Err(errors::INPUT.error(py, message));
        }
        let thresholds =
            Thresholds { warning_fill: warning, critical_fill: critical, ..Thresholds::default() };
        let settings = Settings { thresholds, trim, root, process_limit: process_limit_bytes };
        let monitor = py.detach(|| {
            memory::Monitor::start(settings, move |level, _| {
                let Some(callback) = &callback else { return };
                // An interpreter that is ending takes no more calls.
                Python::try_attach(|py| {
                    if let Err(error) = callback.call1(py, (level.name(),)) {
                        error.write_unraisable(py, Some(callback.bind(py)));
                    }
                });
            })
        })?;
        Ok(PressureMonitor { monitor })
    }

    #[getter]
    fn level(&self) -> &'static str {
        self.monitor.level().name()
    }

    #[getter]
    fn running(&self) -> bool {
        self.monitor.is_running()
    }

    #[getter]
    fn trimmed_bytes(&self) -> u64 {
        self.monitor.trimmed_bytes()
    }

    fn facts(&self) -> Facts {
        facts(self.monitor.reading())
    }

    fn wake(&self) {
        self.monitor.wake();
    }

    /// The thread may be waiting for the interpreter, to call back.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.monitor.stop());
    }
}

/// Measures memory now, without a monitor: `(level, facts)`.
#[pyfunction]
pub fn memory_pressure(py: Python<'_>, root: PathBuf) -> PyResult<(&'static str, Facts)> {
    let reading = py.detach(|| memory::read(&root))?;
    let level = memory::Policy::new(Thresholds::default()).step(std::time::Duration::ZERO, &reading);
    Ok((level.name(), facts(reading)))
}
