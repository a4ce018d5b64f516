/// Page faults of the process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageFaults {
    /// Served without reading from a disk: the price of touching fresh memory.
    pub minor: u64,
    /// Served from a disk.
    pub major: u64,
}

/// The page faults of this process so far; zeros where the system does not say.
pub fn page_faults() -> PageFaults {
    // Miri, which runs the tests, knows no such call.
    #[cfg(all(unix, not(miri)))]
    {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: getrusage fills the one rusage it is given; all zeros are a valid rusage where it fails.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        PageFaults { minor: usage.ru_minflt as u64, major: usage.ru_majflt as u64 }
    }
    #[cfg(any(not(unix), miri))]
    PageFaults::default()
}

/// Bytes of this process that are in physical memory, where the system says so (Linux).
pub fn resident_bytes() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        let text = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: usize = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(pages * crate::buffer::page_size())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Gives freed memory of the C heap back to the system, where its allocator keeps it (glibc).
pub fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: the call only takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn touching_memory_shows() {
        let (faults, resident) = (page_faults().minor, resident_bytes().unwrap());
        let touched = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(page_faults().minor > faults);
        assert!(resident_bytes().unwrap() > resident + (16 << 20));
        drop(touched);
    }
}
