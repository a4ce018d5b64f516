//! macOS judges by itself; its verdict and its measure of free memory are read from the kernel's variables.

use std::ffi::CStr;
use std::io;
use std::path::Path;

pub(super) use super::sleep::Sleeper;
use super::{Level, Reading};

pub(super) struct Gauge {
    total: u64,
}

impl Gauge {
    pub(super) fn new(_root: &Path) -> io::Result<Gauge> {
        Ok(Gauge { total: variable::<u64>(c"hw.memsize")? })
    }

    pub(super) fn read(&mut self) -> io::Result<Reading> {
        let free_percent = u64::from(variable::<u32>(c"kern.memorystatus_level")?.min(100));
        let verdict = match variable::<u32>(c"kern.memorystatus_vm_pressure_level")? {
            4.. => Level::Critical,
            2.. => Level::Warning,
            _ => Level::Normal,
        };
        Ok(Reading {
            used: self.total / 100 * (100 - free_percent),
            limit: self.total,
            scope: "machine".to_owned(),
            verdict,
            ..Reading::default()
        })
    }
}

/// A whole number that any bytes are a value of.
trait Number: Default {}
impl Number for u32 {}
impl Number for u64 {}

fn variable<T: Number>(name: &CStr) -> io::Result<T> {
    let mut value = T::default();
    let mut size = size_of::<T>();
    // SAFETY: the name ends with a zero byte; the system writes at most `size` bytes, the size of the number, of which
    // any bytes are a value.
    let status = unsafe {
        libc::sysctlbyname(name.as_ptr(), (&raw mut value).cast(), &mut size, std::ptr::null_mut(), 0)
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    if size != size_of::<T>() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(value)
}
