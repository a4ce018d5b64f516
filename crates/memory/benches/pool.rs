//! Nanoseconds for one acquire and release: `cargo bench -p vedette-memory`.

use std::hint::black_box;
use std::time::Instant;

use vedette_memory::pool::{BufferPool, LeakTracking, Options};

const CYCLES: u32 = 200_000;

fn nanoseconds_per_cycle(threads: usize, cycle: impl Fn() + Sync) -> f64 {
    let rounds = (0..9).map(|_| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..CYCLES).for_each(|_| cycle()));
            }
        });
        start.elapsed().as_nanos() as f64 / f64::from(CYCLES)
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
