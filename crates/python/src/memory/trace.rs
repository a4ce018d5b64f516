//! Where blocks are taken: in `tracemalloc`, and as stacks for leak reports.

use pyo3::prelude::*;
use vedette_memory::pool::StackFrame;

/// Domain of our blocks in `tracemalloc`: "VD". Zero is Python's own.
pub const DOMAIN: std::ffi::c_uint = 0x5644;

/// Calls of a stack that are kept.
const DEEPEST: usize = 32;

#[cfg(unix)]
mod tracemalloc {
    use std::ffi::{CStr, c_int, c_uint, c_void};
    use std::sync::OnceLock;

    use super::DOMAIN;

    type Track = unsafe extern "C" fn(c_uint, usize, usize) -> c_int;
    type Untrack = unsafe extern "C" fn(c_uint, usize) -> c_int;

    // Public functions of CPython that its stable ABI lacks: they are looked up in the running interpreter.
    fn symbol(name: &CStr) -> Option<*mut c_void> {
        // SAFETY: the name ends with a zero byte.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    }

    fn functions() -> Option<(Track, Untrack)> {
        static FUNCTIONS: OnceLock<Option<(Track, Untrack)>> = OnceLock::new();
        *FUNCTIONS.get_or_init(|| {
            let (track, untrack) = (symbol(c"PyTraceMalloc_Track")?, symbol(c"PyTraceMalloc_Untrack")?);
            // SAFETY: CPython has had these functions with these signatures since 3.7.
            unsafe {
                Some((
                    std::mem::transmute::<*mut c_void, Track>(track),
                    std::mem::transmute::<*mut c_void, Untrack>(untrack),
                ))
            }
        })
    }

    pub fn track(pointer: *const u8, len: usize) -> bool {
        // SAFETY: the interpreter is attached, since only its objects' constructors call this.
        functions().is_some_and(|(track, _)| unsafe { track(DOMAIN, pointer.addr(), len) } == 0)
    }

    pub fn untrack(pointer: *const u8) {
        if let Some((_, untrack)) = functions() {
            // SAFETY: the interpreter is attached, since only its objects' destructors call this.
            unsafe { untrack(DOMAIN, pointer.addr()) };
        }
    }
}

#[cfg(not(unix))]
mod tracemalloc {
    pub fn track(_pointer: *const u8, _len: usize) -> bool {
        false
    }

    pub fn untrack(_pointer: *const u8) {}
}

/// Tells `tracemalloc` of a block until it is ended, where it runs.
#[derive(Default)]
pub struct Trace(Option<usize>);

impl Trace {
    pub fn new(_attached: Python<'_>, pointer: *const u8, len: usize) -> Trace {
        Trace(tracemalloc::track(pointer, len).then_some(pointer.addr()))
    }

    /// Ends it; before the block goes back, as its next user will be tracked under the same address.
    pub fn end(&mut self, _attached: Python<'_>) {
        if let Some(address) = self.0.take() {
            tracemalloc::untrack(std::ptr::without_provenance(address));
        }
    }
}

/// The Python calls that led here, innermost first; empty where there are none.
pub fn python_stack(py: Python<'_>) -> Vec<StackFrame> {
    let mut stack = Vec::new();
    // What cannot be read is left out: a report of leaks is no reason to fail an acquisition.
    let mut frame = py.import("sys").and_then(|sys| sys.call_method0("_getframe")).ok();
    while let Some(current) = frame.filter(|frame| !frame.is_none() && stack.len() < DEEPEST) {
        stack.extend(describe(&current).ok());
        frame = current.getattr("f_back").ok();
    }
    stack
}

fn describe(frame: &Bound<'_, PyAny>) -> PyResult<StackFrame> {
    let code = frame.getattr("f_code")?;
    Ok(StackFrame {
        file: code.getattr("co_filename")?.extract()?,
        // None where the interpreter has optimised the line away.
        line: frame.getattr("f_lineno")?.extract().unwrap_or(0),
        function: code.getattr("co_qualname")?.extract()?,
    })
}
