//! The pool under many threads, and after a fork while they are busy with it. Alone in its process, whose size counts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use vedette_memory::pool::{BufferPool, Lease, Options};
use vedette_memory::resident_bytes;

const THREADS: usize = 8;

/// One test at a time, so that each sees its own memory only.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One heap of the C library for all threads, from before there are any: it gives back the end of its first heap only,
/// and keeps megabytes of free memory in each of those it makes for threads.
#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
#[used]
// SAFETY: the loader calls it once, before main, and the call in it has no condition.
#[unsafe(link_section = ".init_array")]
static ONE_HEAP: extern "C" fn() = {
    extern "C" fn one_heap() {
        // SAFETY: as above.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
    one_heap
};

/// Bytes in memory, without what the C library keeps for itself of small blocks that came back.
fn resident() -> Option<usize> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call has no condition.
    unsafe {
        libc::malloc_trim(0);
    }
    resident_bytes()
}

/// Each thread acquires and marks blocks and passes them on to the next one, which checks and releases them, while yet
/// another thread trims: no block is ever in two hands, and none is lost.
fn cycle(pool: &BufferPool, cycles: usize) {
    let done = AtomicBool::new(false);
    let released = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let channels: Vec<_> = (0..THREADS).map(|_| mpsc::sync_channel::<(u8, Lease)>(4)).collect();
        let senders: Vec<_> = channels.iter().map(|(send, _)| send.clone()).collect();
        let mut workers = Vec::new();
        for (number, (_, receive)) in channels.into_iter().enumerate() {
            let next = senders[(number + 1) % THREADS].clone();
            let released = &released;
            workers.push(scope.spawn(move || {
                let check = |(mark, lease): (u8, Lease)| {
                    assert!(lease.iter().all(|&byte| byte == mark), "a block was in two hands");
                    drop(lease);
                    released.fetch_add(1, Ordering::Relaxed);
                };
                let mut seed = number as u64 + 1;
                for cycle in 0..cycles / THREADS {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    let len = match seed % 200 {
                        0 => 200_000,
                        1 => 2_500_000,
                        rest => rest as usize * 8,
                    };
                    let mut lease = pool.acquire(len).unwrap();
                    let mark = (number * 31 + cycle) as u8;
                    if len > 4096 {
                        lease[0] = mark;
                        lease[len - 1] = mark;
                        std::thread::yield_now();
                        assert_eq!((lease[0], lease[len - 1]), (mark, mark), "a block was in two hands");
                        drop(lease);
                        released.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    lease.fill(mark);
                    if let Err(mpsc::TrySendError::Full(back) | mpsc::TrySendError::Disconnected(back)) =
                        next.try_send((mark, lease))
                    {
                        check(back);
                    }
                    receive.try_iter().take(2).for_each(check);
                }
                drop(next);
                receive.iter().for_each(check);
            }));
        }
        drop(senders);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.trim(Duration::from_millis(5));
                pool.stats();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let failed = workers.into_iter().filter_map(|worker| worker.join().err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
    assert_eq!(released.into_inner(), cycles / THREADS * THREADS);
    let stats = pool.stats();
    assert_eq!(stats.current, 0);
    assert_eq!(stats.classes.iter().map(|class| class.free).sum::<usize>(), stats.held);
    assert_eq!(pool.trim(Duration::ZERO), stats.held);
    assert_eq!(pool.stats().held, 0);
}

#[test]
fn a_million_cycles_over_eight_threads_lose_nothing() {
    let _alone = alone();
    // Instrumented runs are a hundred times slower and ask for fewer; what they hold is their tool's rather than ours.
    let asked = std::env::var("VEDETTE_TEST_CYCLES").ok();
    let cycles = asked.as_ref().map_or(1_000_000, |text| text.parse().unwrap());
    for debug in [false, true] {
        let pool = BufferPool::new(Options { debug, ..Options::default() });
        // The threads' heaps are made in the first round and stay.
        cycle(&pool, cycles / 10);
        let before = resident();
        cycle(&pool, if debug { cycles / 10 } else { cycles });
        assert!(pool.violations().is_empty());
        if let (Some(before), Some(after), None) = (before, resident(), &asked) {
            // Stacks of threads come and go; the blocks that passed are ten thousand times more.
            assert!(after < before + (1 << 20), "{before} resident bytes became {after}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_goes_on_with_the_pool() {
    let _alone = alone();
    let pool = BufferPool::new(Options::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop([100, 3_000_000].map(|len| pool.acquire(len).unwrap()));
                    pool.trim(Duration::ZERO);
                }
            });
        }
        drop(pool.acquire(100).unwrap());
        for _ in 0..50 {
            // SAFETY: the child uses the pool and leaves by _exit. Its allocator is the C library's, which keeps
            // itself usable in a forked child.
            let status = unsafe {
                let child = libc::fork();
                if child == 0 {
                    // Ends a child that waits for a lock nobody holds any more.
                    libc::alarm(60);
                    for len in [100, 5000, 3_000_000, 64 << 20] {
                        let mut lease = pool.acquire(len).unwrap();
                        lease[0] = 1;
                        drop(lease);
                        drop(pool.acquire(len).unwrap());
                    }
                    pool.trim(Duration::ZERO);
                    libc::_exit(i32::from(pool.stats().misses == 0));
                }
                let mut status = -1;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                status
            };
            assert_eq!(status, 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
