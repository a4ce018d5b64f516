//! Threads: one pool of workers for the whole process, used in coarse parts by whoever asks; pools of tasks that steal
//! from each other; and a limit on the CPU time of it all.

pub mod clock;
mod float_mode;
mod pool;
pub mod stealing;
pub mod throttle;

pub use float_mode::{FloatMode, FlushSubnormals};
pub use pool::ThreadPool;

use std::sync::atomic::{AtomicUsize, Ordering};

static DEFAULT_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Cores this process may use: the affinity mask and the cgroup quota, whichever is smaller.
pub fn effective_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads a computation uses unless told otherwise: what [`set_num_threads`] was given, else `VEDETTE_THREADS`,
/// else [`effective_cores`].
pub fn num_threads() -> usize {
    match DEFAULT_THREADS.load(Ordering::Relaxed) {
        0 => {
            let chosen = std::env::var("VEDETTE_THREADS")
                .ok()
                .and_then(|text| text.parse().ok())
                .filter(|&threads| (1..=pool::MAX_THREADS).contains(&threads))
                .unwrap_or_else(effective_cores);
            DEFAULT_THREADS.store(chosen, Ordering::Relaxed);
            chosen
        }
        threads => threads,
    }
}

/// Sets the default of [`num_threads`]; 0 restores the default.
pub fn set_num_threads(threads: usize) {
    DEFAULT_THREADS.store(threads.min(pool::MAX_THREADS), Ordering::Relaxed);
}
