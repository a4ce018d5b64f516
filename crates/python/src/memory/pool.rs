use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use numpy::npyffi::{NPY_ARRAY_WRITEABLE, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vedette_memory::pool::{self as memory, LeakTracking, Lease, Options, PoolError, Violation};

use super::trace::{Trace, python_stack};
use super::{export, shape};
use crate::{array, errors};

fn of_pool(py: Python<'_>, error: &PoolError) -> PyErr {
    errors::MEMORY_LIMIT.error(py, error.to_string())
}

fn duration(py: Python<'_>, name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| errors::INPUT.error(py, format!("{name} must be seconds from 0 on, got {seconds}")))
}

type Leak = (u64, usize, f64, Vec<(String, u32, String)>);

#[pyclass(frozen, subclass, weakref, module = "vedette._native")]
pub struct BufferPool {
    pool: memory::BufferPool,
}

#[pymethods]
impl BufferPool {
    #[new]
    #[pyo3(signature = (capacity_bytes=None, leak_tracking="off", *, sample_every=64, trim_after_s=10.0, debug=false, name="", of_process=false))]
    fn new(
        py: Python<'_>,
        capacity_bytes: Option<isize>,
        leak_tracking: &str,
        sample_every: isize,
        trim_after_s: f64,
        debug: bool,
        name: &str,
        of_process: bool,
    ) -> PyResult<BufferPool> {
        if of_process {
            return Ok(BufferPool { pool: memory::default_pool().clone() });
        }
        let leak_tracking = match leak_tracking {
            "off" => LeakTracking::Off,
            "sampled" => match u32::try_from(sample_every) {
                Ok(period @ 1..) => LeakTracking::Sampled(period),
                _ => {
                    let message = format!("sample_every must be 1 or more, got {sample_every}");
                    return Err(errors::INPUT.error(py, message));
                }
            },
            "full" => LeakTracking::Full,
            other => {
                let message = format!("leak_tracking can be off, sampled or full, got {other:?}");
                return Err(errors::INPUT.error(py, message));
            }
        };
        let options = Options {
            name: name.to_owned(),
            capacity: capacity_bytes.map(|bytes| shape::size(py, "capacity_bytes", bytes)).transpose()?,
            trim_after: duration(py, "trim_after_s", trim_after_s)?,
            leak_tracking,
            debug,
        };
        Ok(BufferPool { pool: memory::BufferPool::new(options) })
    }

    fn acquire(&self, py: Python<'_>, n: isize) -> PyResult<Buffer> {
        let lease = self.lease(py, shape::size(py, "n", n)?)?;
        let trace = Trace::new(py, lease.as_ptr(), lease.len());
        Ok(Buffer { state: Mutex::new(State { lease: Some(lease), trace, exports: 0 }) })
    }

    fn empty<'py>(
        &self,
        py: Python<'py>,
        shape: &Bound<'py, PyAny>,
        dtype: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let descriptor = shape::descriptor(dtype)?;
        let dims = shape::dims(shape)?;
        let lease = self.lease(py, shape::bytes(py, &dims, &descriptor)?)?;
        leased(py, lease, descriptor, dims)
    }

    #[pyo3(signature = (*, older_than_s=0.0))]
    fn trim(&self, py: Python<'_>, older_than_s: f64) -> PyResult<usize> {
        let age = duration(py, "older_than_s", older_than_s)?;
        Ok(py.detach(|| self.pool.trim(age)))
    }

    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.pool.stats());
        let facts = PyDict::new(py);
        facts.set_item("name", stats.name)?;
        facts.set_item("capacity_bytes", stats.capacity)?;
        facts.set_item("current_bytes", stats.current)?;
        facts.set_item("peak_bytes", stats.peak)?;
        facts.set_item("total_bytes", stats.total)?;
        facts.set_item("held_bytes", stats.held)?;
        facts.set_item("huge_page_bytes", stats.huge)?;
        facts.set_item("hits", stats.hits)?;
        facts.set_item("misses", stats.misses)?;
        facts.set_item("page_faults", stats.page_faults.minor)?;
        facts.set_item("major_page_faults", stats.page_faults.major)?;
        let classes: Vec<_> =
            stats.classes.iter().map(|class| (class.block, class.current, class.free)).collect();
        facts.set_item("classes", classes)?;
        Ok(facts)
    }

    fn reset_peak(&self) {
        self.pool.reset_peak();
    }

    fn outstanding(&self, py: Python<'_>, older_than_s: f64) -> PyResult<Vec<Leak>> {
        let age = duration(py, "older_than_s", older_than_s)?;
        let blocks = py.detach(|| self.pool.outstanding(age)).into_iter();
        Ok(blocks
            .map(|block| {
                let stack = block.stack.into_iter().map(|frame| (frame.file, frame.line, frame.function));
                (block.id, block.size, block.age.as_secs_f64(), stack.collect())
            })
            .collect())
    }

    fn violations(&self) -> Vec<String> {
        self.pool.violations().iter().map(Violation::to_string).collect()
    }
}

impl BufferPool {
    fn lease(&self, py: Python<'_>, len: usize) -> PyResult<Lease> {
        self.pool.acquire_with(len, || python_stack(py)).map_err(|error| of_pool(py, &error))
    }
}

/// Base of the arrays over a block: it lives as long as the last of them.
#[pyclass(frozen, module = "vedette._native")]
struct LeaseOwner {
    lease: Option<Lease>,
    trace: Trace,
}

/// An array over a block, which goes back to its pool when the last view of the array dies.
///
/// # Panics
/// Where the block is smaller than the array.
pub fn leased<'py>(
    py: Python<'py>,
    lease: Lease,
    descriptor: Bound<'py, PyArrayDescr>,
    dims: Vec<npy_intp>,
) -> PyResult<Bound<'py, PyAny>> {
    let bytes = dims.iter().map(|&dim| dim as usize).product::<usize>() * descriptor.itemsize();
    assert!(lease.len() >= bytes);
    let data = lease.as_raw();
    let trace = Trace::new(py, data, lease.len());
    let owner = Bound::new(py, LeaseOwner { lease: Some(lease), trace })?;
    // SAFETY: the block holds the shape's bytes, stays where it is, and is lent to this array alone.
    unsafe { array::over(descriptor, dims, data, NPY_ARRAY_WRITEABLE, owner.into_any()) }
}

#[pymethods]
impl LeaseOwner {
    /// NumPy asks the base of an array whether it may be made writable again.
    ///
    /// # Safety
    /// The interpreter calls this with a view to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let memory = slf.get().lease.as_ref().map(|lease| (lease.as_raw(), lease.len()));
        let Some((pointer, len)) = memory else { return Err(released(slf.py())) };
        // SAFETY: the lease ends when its owner dies, which the view prevents.
        unsafe { export::fill(slf.as_any(), view, flags, pointer, len) }
    }
}

impl Drop for LeaseOwner {
    fn drop(&mut self) {
        return_block(self.lease.take(), &mut self.trace);
    }
}

/// Ends a lease whose Python object dies. Nobody is there to catch what the debug mode may find.
fn return_block(lease: Option<Lease>, trace: &mut Trace) {
    let Some(lease) = lease else { return };
    Python::attach(|py| {
        trace.end(py);
        let Some(violation) = lease.release() else { return };
        // An object may well die while an exception is on its way.
        let pending = PyErr::take(py);
        errors::LEASE.error(py, violation.to_string()).write_unraisable(py, None);
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

/// A block of a pool: writable bytes behind the buffer protocol, 64-byte aligned.
///
/// Views of it (memoryview, numpy.frombuffer) keep it; release() or the end of a with statement gives the block back,
/// and so does the end of the last reference.
#[pyclass(frozen, module = "vedette._native")]
pub struct Buffer {
    state: Mutex<State>,
}

struct State {
    lease: Option<Lease>,
    trace: Trace,
    exports: usize,
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the block out, so that whoever comes second finds none.
    fn take(&self, py: Python<'_>) -> PyResult<(Lease, Trace)> {
        let mut state = self.lock();
        let views = state.exports;
        if views == 0
            && let Some(lease) = state.lease.take()
        {
            return Ok((lease, std::mem::take(&mut state.trace)));
        }
        drop(state);
        let why = match views {
            0 => "the buffer has already been released".to_owned(),
            _ => format!("{views} views of the buffer are alive; drop them before releasing it"),
        };
        Err(errors::LEASE.error(py, why))
    }
}

#[pymethods]
impl Buffer {
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let (lease, mut trace) = self.take(py)?;
        trace.end(py);
        match lease.release() {
            None => Ok(()),
            Some(violation) => Err(errors::LEASE.error(py, violation.to_string())),
        }
    }

    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.lock().lease.as_ref().map(|lease| lease.len()).ok_or_else(|| released(py))
    }

    #[getter]
    fn released(&self) -> bool {
        self.lock().lease.is_none()
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.nbytes(py)
    }

    fn __repr__(&self) -> String {
        match &self.lock().lease {
            Some(lease) => format!("<Buffer of {} bytes>", lease.len()),
            None => "<Buffer, released>".to_owned(),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().released() {
            return Err(released(slf.py()));
        }
        Ok(slf)
    }

    /// Releases the buffer, unless that has happened inside or an exception is on its way, whose traceback may well
    /// keep views alive: then the block comes back when the last of them dies.
    #[pyo3(signature = (kind, _value, _traceback))]
    fn __exit__(
        &self,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let (released, in_use) = {
            let state = self.lock();
            (state.lease.is_none(), state.exports > 0)
        };
        if released || (in_use && !kind.is_none()) { Ok(()) } else { self.release(kind.py()) }
    }

    /// # Safety
    /// The interpreter calls this with a view to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let py = slf.py();
        let exported = {
            let mut state = slf.get().lock();
            let found = state.lease.as_ref().map(|lease| (lease.as_raw(), lease.len()));
            state.exports += usize::from(found.is_some());
            found
        };
        let Some((pointer, len)) = exported else { return Err(released(py)) };
        // SAFETY: the block stays where it is while it is exported.
        unsafe { export::fill(slf.as_any(), view, flags, pointer, len) }
            .inspect_err(|_| slf.get().lock().exports -= 1)
    }

    /// # Safety
    /// The interpreter calls this once for every view that was filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.lock().exports -= 1;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        return_block(state.lease.take(), &mut state.trace);
    }
}

fn released(py: Python<'_>) -> PyErr {
    errors::LEASE.error(py, "the buffer has been released")
}
