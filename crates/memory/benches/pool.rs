//! Nanoseconds of CPU for one acquire and release: `cargo bench -p vedette-memory`.

use std::hint::black_box;
use std::time::Duration;

use vedette_memory::pool::{BufferPool, LeakTracking, Options};

const CYCLES: u32 = 200_000;

/// CPU time, so that other work on the machine does not count.
#[cfg(unix)]
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the one timespec it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

fn nanoseconds_per_cycle(threads: usize, cycle: impl Fn() + Sync) -> f64 {
    let thread = || {
        let start = thread_time();
        (0..CYCLES).for_each(|_| cycle());
        (thread_time() - start).as_nanos() as f64 / f64::from(CYCLES)
    };
    let rounds = (0..9).map(|_| {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).sum::<f64>() / threads as f64
        })
    });
    // The fastest round is the one that nothing else disturbed.
    rounds.fold(f64::INFINITY, f64::min)
}

fn main() {
    let pool = BufferPool::new(Options::default());
    let tracked = BufferPool::new(Options { leak_tracking: LeakTracking::Sampled(64), ..Options::default() });
    println!("{:>10} {:>8} {:>12} {:>12} {:>12}", "bytes", "threads", "pool ns", "sampled ns", "system ns");
    for len in [64, 4096, 64 << 10, 6_220_800] {
        for threads in [1, 2] {
            let [pooled, sampled] = [&pool, &tracked].map(|pool| {
                nanoseconds_per_cycle(threads, || drop(black_box(pool.acquire(black_box(len)).unwrap())))
            });
            let system =
                nanoseconds_per_cycle(threads, || drop(black_box(Vec::<u8>::with_capacity(black_box(len)))));
            println!("{len:>10} {threads:>8} {pooled:>12.1} {sampled:>12.1} {system:>12.1}");
        }
    }
}
