use std::io;
use std::time::Duration;

use pyo3::prelude::*;
use vedette_runtime::stealing::{Priority, Settings, StealingPool, WorkerStats};

use crate::errors;

type WorkerFacts = (u64, u64, f64, f64, f64, Vec<usize>);

fn facts(worker: WorkerStats) -> WorkerFacts {
    (worker.tasks, worker.steals, worker.busy_s, worker.idle_s, worker.cpu_s, worker.cores)
}

#[pyclass(frozen, weakref, module = "vedette._native")]
pub struct WorkerPool {
    pool: StealingPool,
}

#[pymethods]
impl WorkerPool {
    /// `nice` None: as the process; `idle`: when nobody else wants the core.
    #[new]
    fn new(
        py: Python<'_>,
        name: String,
        threads: usize,
        affinity: Option<Vec<Vec<usize>>>,
        nice: Option<i32>,
        idle: bool,
    ) -> PyResult<WorkerPool> {
        let priority = match nice {
            _ if idle => Priority::Idle,
            Some(value) => Priority::Nice(value),
            None => Priority::Normal,
        };
        let settings = Settings { name, threads, affinity, priority };
        match py.detach(|| StealingPool::new(settings)) {
            Ok(pool) => Ok(WorkerPool { pool }),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                Err(errors::INPUT.error(py, format!("the system refuses these threads: {error}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The task is called without arguments on a worker; what it raises goes to `sys.unraisablehook`.
    /// The locks of the pool are held for a few instructions and never while Python runs, so the GIL stays.
    fn submit(&self, task: Py<PyAny>) -> bool {
        let job = Box::new(move || {
            // An interpreter that is ending runs no more tasks; what they hold stays where it is.
            let mut task = Some(task);
            Python::try_attach(|py| {
                if let Some(task) = task.take()
                    && let Err(error) = task.call0(py)
                {
                    error.write_unraisable(py, Some(task.bind(py)));
                }
            });
            if let Some(task) = task {
                std::mem::forget(task);
            }
        });
        self.pool.submit(job)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.pool.close());
    }

    /// Waits in pieces, so that Ctrl-C is heard.
    fn join(&self, py: Python<'_>, timeout_s: f64) -> PyResult<bool> {
        const PIECE_S: f64 = 0.05;
        let mut left = timeout_s;
        loop {
            let piece = Duration::from_secs_f64(left.clamp(0.0, PIECE_S));
            if py.detach(|| self.pool.join(piece)) {
                return Ok(true);
            }
            py.check_signals()?;
            left -= PIECE_S;
            if left <= 0.0 {
                return Ok(false);
            }
        }
    }

    fn facts(&self, py: Python<'_>) -> (usize, usize, Vec<WorkerFacts>) {
        let stats = py.detach(|| self.pool.stats());
        (stats.queued, stats.running, stats.workers.into_iter().map(facts).collect())
    }
}
