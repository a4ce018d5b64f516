use std::sync::Arc;

use pyo3::prelude::*;
use vedette_runtime::clock;
use vedette_runtime::throttle::{self, Bucket, Throttle};

use crate::errors;

/// The clocks that native work reads: seconds of wall time and of the process's CPU time.
#[pyfunction]
pub fn process_clocks() -> (f64, f64) {
    (clock::wall_s(), clock::process_cpu_s())
}

#[pyclass(frozen, module = "vedette._native")]
pub struct CpuThrottle {
    throttle: Arc<Throttle>,
}

fn check(py: Python<'_>, rate: f64, burst: f64) -> PyResult<()> {
    if rate > 0.0 && rate.is_finite() && burst >= 0.0 && burst.is_finite() {
        return Ok(());
    }
    Err(errors::INPUT.error(py, format!("rate and burst must be positive, got {rate} and {burst}")))
}

#[pymethods]
impl CpuThrottle {
    #[new]
    fn new(py: Python<'_>, rate: f64, burst: f64, wall: f64, cpu: f64) -> PyResult<CpuThrottle> {
        check(py, rate, burst)?;
        Ok(CpuThrottle { throttle: Arc::new(Throttle::new(Bucket::new(rate, burst, wall, cpu))) })
    }

    /// The lock inside is held for a few instructions at a time, never while Python runs or anyone sleeps.
    fn settle(&self, wall: f64, cpu: f64) -> (f64, f64) {
        let mut bucket = self.throttle.bucket();
        let level = bucket.settle(wall, cpu);
        (level, bucket.delay())
    }

    fn set_rate(&self, py: Python<'_>, rate: f64, burst: f64) -> PyResult<()> {
        check(py, rate, burst)?;
        self.throttle.bucket().set_rate(rate, burst);
        Ok(())
    }

    fn enter(&self) {
        throttle::enter(&self.throttle);
    }

    fn leave(&self) -> bool {
        throttle::leave(&self.throttle)
    }

    #[getter]
    fn paused_s(&self) -> f64 {
        self.throttle.paused_s()
    }
}
