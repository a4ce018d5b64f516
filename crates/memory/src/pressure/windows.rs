//! Windows keeps an object that is signalled while memory is low.

use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::System::Memory::{
    CreateMemoryResourceNotification, LowMemoryResourceNotification, QueryMemoryResourceNotification,
};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

pub(super) use super::sleep::Sleeper;
use super::{Level, Reading};

pub(super) struct Gauge {
    low: HANDLE,
}

// SAFETY: the handle names a kernel object, which any thread may use.
unsafe impl Send for Gauge {}

impl Gauge {
    pub(super) fn new(_root: &Path) -> io::Result<Gauge> {
        // SAFETY: the call has no condition.
        let low = unsafe { CreateMemoryResourceNotification(LowMemoryResourceNotification) };
        if low.is_null() { Err(io::Error::last_os_error()) } else { Ok(Gauge { low }) }
    }

    pub(super) fn read(&mut self) -> io::Result<Reading> {
        let mut is_low = 0;
        let mut status =
            MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..Default::default() };
        // SAFETY: the handle is open, and the calls write to the number and to the structure whose size it carries.
        let done = unsafe {
            QueryMemoryResourceNotification(self.low, &mut is_low) != 0
                && GlobalMemoryStatusEx(&mut status) != 0
        };
        if !done {
            return Err(io::Error::last_os_error());
        }
        Ok(Reading {
            used: status.ullTotalPhys.saturating_sub(status.ullAvailPhys),
            limit: status.ullTotalPhys,
            scope: "machine".to_owned(),
            verdict: if is_low != 0 { Level::Warning } else { Level::Normal },
            ..Reading::default()
        })
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        // SAFETY: the handle is open and closed only here.
        unsafe { CloseHandle(self.low) };
    }
}
