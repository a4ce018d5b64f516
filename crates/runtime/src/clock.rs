//! Clocks of CPU time: what the process or the calling thread has used, in seconds.

/// CPU seconds of all threads of this process so far.
pub fn process_cpu_s() -> f64 {
    #[cfg(unix)]
    return unix(libc::CLOCK_PROCESS_CPUTIME_ID);
    #[cfg(windows)]
    return windows(true);
    #[cfg(not(any(unix, windows)))]
    0.0
}

/// CPU seconds of the calling thread so far.
pub fn thread_cpu_s() -> f64 {
    #[cfg(unix)]
    return unix(libc::CLOCK_THREAD_CPUTIME_ID);
    #[cfg(windows)]
    return windows(false);
    #[cfg(not(any(unix, windows)))]
    0.0
}

/// Seconds of a clock that never goes back; its zero is the first call.
pub fn wall_s() -> f64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

#[cfg(unix)]
fn unix(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the one timespec it is given; on failure the zeros stay.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(windows)]
fn windows(process: bool) -> f64 {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::{
        GetCurrentProcess, GetCurrentThread, GetProcessTimes, GetThreadTimes,
    };
    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let (mut created, mut ended, mut kernel, mut user) = (zero, zero, zero, zero);
    // SAFETY: both calls write the four times they are given; on failure the zeros stay.
    unsafe {
        if process {
            GetProcessTimes(GetCurrentProcess(), &mut created, &mut ended, &mut kernel, &mut user);
        } else {
            GetThreadTimes(GetCurrentThread(), &mut created, &mut ended, &mut kernel, &mut user);
        }
    }
    let ticks = |time: FILETIME| (u64::from(time.dwHighDateTime) << 32) | u64::from(time.dwLowDateTime);
    (ticks(kernel) + ticks(user)) as f64 * 1e-7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_on_both_clocks_and_neither_goes_back() {
        let (process, thread) = (process_cpu_s(), thread_cpu_s());
        let mut x = 1_u64;
        while thread_cpu_s() <= thread {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(process_cpu_s() > process);
        assert!(wall_s() <= wall_s());
    }
}
