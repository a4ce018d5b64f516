/// Milliseconds of a clock that never goes back, modulo 2^32: the age of a free block is all it is for.
///
/// Every release reads it, so it is the cheapest clock there is: a few nanoseconds, a few milliseconds coarse.
pub(crate) fn now_ms() -> u32 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes the one timespec it is given; on failure the zeros stay.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
        (time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000) as u32
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u32
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_forward() {
        let before = super::now_ms();
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert!((15..10_000).contains(&super::now_ms().wrapping_sub(before)));
    }
}
