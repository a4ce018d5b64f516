use crate::FloatMode;
use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Most threads a pool gives to one job.
pub const MAX_THREADS: usize = 256;

/// How long an idle worker looks for the next job before it sleeps. Layers of a network follow each other within
/// this time; anything longer would burn the CPU of others.
const SPIN: Duration = Duration::from_micros(50);

/// A handle to the process's workers that uses at most a given number of threads, the caller's among them.
///
/// The calling thread always takes part. When the workers are busy with another caller's job, or a job is started
/// from inside a job, the caller does all of it alone: nothing ever waits for a free worker.
#[derive(Clone, Debug)]
pub struct ThreadPool {
    threads: usize,
}

impl ThreadPool {
    /// A handle for `threads` threads (at least 1). Workers start when they are first needed.
    pub fn new(threads: usize) -> ThreadPool {
        ThreadPool { threads: threads.clamp(1, MAX_THREADS) }
    }

    /// Threads a job may use.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `f(part)` for every part in `0..parts`, some of them on other threads, and returns when all are done.
    ///
    /// # Panics
    /// A panic in `f` is passed on to the caller after every other part has ended.
    pub fn run(&self, parts: usize, f: impl Fn(usize) + Sync) {
        crate::throttle::checkpoint();
        let threads = self.threads.min(parts);
        if threads > 1
            && let Some(workers) = Workers::acquire(threads - 1)
        {
            workers.run(parts, threads - 1, &f);
            return;
        }
        (0..parts).for_each(f);
    }

    /// Splits `0..len` into at most [`threads`](Self::threads) ranges of at least `grain` (the last may be shorter)
    /// that start at multiples of `multiple`, and calls `f` with each.
    pub fn run_ranges(
        &self,
        len: usize,
        grain: usize,
        multiple: usize,
        f: impl Fn(std::ops::Range<usize>) + Sync,
    ) {
        let parts = (len / grain.max(1)).clamp(1, self.threads);
        let step = len.div_ceil(parts).next_multiple_of(multiple.max(1));
        self.run(parts, |part| {
            let range = (part * step).min(len)..((part + 1) * step).min(len);
            if !range.is_empty() {
                f(range);
            }
        });
    }
}

type Task<'a> = &'a (dyn Fn(usize) + Sync);

#[derive(Clone, Copy)]
struct Job {
    task: Task<'static>,
    parts: usize,
    threads: usize,
    float_mode: FloatMode,
}

/// A counter on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Taken(AtomicUsize);

// `gate` holds the job's number above, whether workers may still join, and how many are inside.
const INSIDE: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const NUMBER: u64 = 1 << 17;

struct Shared {
    gate: AtomicU64,
    /// Parts taken of each thread's share; the caller's is the first.
    taken: [Taken; MAX_THREADS],
    job: UnsafeCell<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: Mutex<usize>,
    wake: Condvar,
    /// Held by the caller whose job is running; the number of workers started.
    started: Mutex<usize>,
}

// SAFETY: `job` is written only by the holder of `started` while the gate is shut and empty, and read only by
// workers that have entered through the open gate.
unsafe impl Sync for Shared {}
// SAFETY: as above; the task it points to is Sync.
unsafe impl Send for Shared {}

struct Workers {
    shared: &'static Shared,
    _running: MutexGuard<'static, usize>,
}

/// The workers of this process. A forked child has none of its parent's threads, so it starts with a new one.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

fn shared() -> &'static Shared {
    #[cfg(unix)]
    {
        extern "C" fn forget_workers() {
            SHARED.store(std::ptr::null_mut(), Ordering::Release);
        }
        static WATCH_FORK: std::sync::Once = std::sync::Once::new();
        // SAFETY: the handler only stores to an atomic, which is allowed between fork and exec.
        WATCH_FORK.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(forget_workers));
        });
    }
    let current = SHARED.load(Ordering::Acquire);
    if !current.is_null() {
        // SAFETY: what is stored here is leaked, so it lives as long as the process.
        return unsafe { &*current };
    }
    let fresh = Box::into_raw(Box::new(Shared {
        gate: AtomicU64::new(0),
        taken: std::array::from_fn(|_| Taken::default()),
        job: UnsafeCell::new(None),
        panic: Mutex::new(None),
        sleepers: Mutex::new(0),
        wake: Condvar::new(),
        started: Mutex::new(0),
    }));
    match SHARED.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: leaked above, never freed.
        Ok(_) => unsafe { &*fresh },
        Err(winner) => {
            // SAFETY: `fresh` was never shared; `winner` is leaked like it.
            unsafe {
                drop(Box::from_raw(fresh));
                &*winner
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    /// The workers, at least `count` of them running, unless another job holds them.
    fn acquire(count: usize) -> Option<Workers> {
        let shared = shared();
        let mut started = match shared.started.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        while *started < count {
            let slot = *started + 1;
            let name = format!("vedette-{slot}");
            let spawned = std::thread::Builder::new().name(name).spawn(move || shared.work(slot));
            if spawned.is_err() {
                break;
            }
            *started += 1;
        }
        (*started > 0).then_some(Workers { shared, _running: started })
    }

    fn run(&self, parts: usize, limit: usize, task: Task<'_>) {
        let shared = self.shared;
        // SAFETY: the lifetime ends for real when this function returns, and it returns only after the gate is shut
        // and no worker is inside, so no worker can call the task later.
        let task = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        let job = Job { task, parts, threads: limit + 1, float_mode: FloatMode::current() };
        // SAFETY: the gate is shut and empty (no job is running, as we hold `started`), so nobody reads the cell.
        unsafe { *shared.job.get() = Some(job) };
        for taken in &shared.taken[..job.threads] {
            taken.0.store(0, Ordering::Relaxed);
        }
        let number = (shared.gate.load(Ordering::Relaxed) & !(NUMBER - 1)).wrapping_add(NUMBER);
        // SeqCst pairs with the sleepers' check of the gate under their lock: either they see the open gate or we
        // see them asleep.
        shared.gate.store(number | OPEN, Ordering::SeqCst);
        if *lock(&shared.sleepers) > 0 {
            shared.wake.notify_all();
        }

        shared.run_share(job, 0);

        shared.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let start = Instant::now();
        while shared.gate.load(Ordering::Acquire) & INSIDE != 0 {
            // A worker that is inside has work in hand, so this wait is as short as a part; past that, let others run.
            if start.elapsed() > SPIN { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        if let Some(payload) = lock(&shared.panic).take() {
            resume_unwind(payload);
        }
    }
}

impl Shared {
    /// Runs the parts of this thread's share, then what is left of the others'.
    ///
    /// A thread has the same share in every job, so where the layers of a network are split alike, it finds in its
    /// cache what it wrote in the layer before; handing out parts first come, first served made MobileNetV2 slower
    /// on two threads than on one.
    fn run_share(&self, job: Job, slot: usize) {
        for turn in 0..job.threads {
            let owner = (slot + turn) % job.threads;
            let share = job.parts * owner / job.threads..job.parts * (owner + 1) / job.threads;
            loop {
                let part = share.start + self.taken[owner].0.fetch_add(1, Ordering::Relaxed);
                if part >= share.end {
                    break;
                }
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (job.task)(part))) {
                    lock(&self.panic).get_or_insert(payload);
                }
            }
        }
    }

    fn work(&self, slot: usize) {
        let mut done = 0;
        loop {
            let number = self.wait_for_job_after(done);
            done = number;
            if self.enter(number) {
                // SAFETY: between entering and leaving, the cell is not written, and it holds this number's job.
                let job = unsafe { *self.job.get() };
                if let Some(job) = job.filter(|job| slot < job.threads) {
                    job.float_mode.apply();
                    self.run_share(job, slot);
                }
                self.gate.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Waits for an open gate with a number other than `done`.
    fn wait_for_job_after(&self, done: u64) -> u64 {
        let fresh =
            |gate: u64| (gate & OPEN != 0 && gate & !(NUMBER - 1) != done).then_some(gate & !(NUMBER - 1));
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..32 {
                if let Some(number) = fresh(self.gate.load(Ordering::Acquire)) {
                    return number;
                }
                std::hint::spin_loop();
            }
        }
        let mut sleepers = lock(&self.sleepers);
        loop {
            if let Some(number) = fresh(self.gate.load(Ordering::SeqCst)) {
                return number;
            }
            *sleepers += 1;
            sleepers = self.wake.wait(sleepers).unwrap_or_else(PoisonError::into_inner);
            *sleepers -= 1;
        }
    }

    /// Joins the job of that number, unless it is over.
    fn enter(&self, number: u64) -> bool {
        self.gate
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |gate| {
                let joinable = gate & OPEN != 0 && gate & !(NUMBER - 1) == number;
                joinable.then_some(gate + 1)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_part_runs_exactly_once() {
        for threads in [1, 2, 3, 8] {
            let pool = ThreadPool::new(threads);
            for parts in [0, 1, 2, 7, 100] {
                let counts: Vec<AtomicU32> = (0..parts).map(|_| AtomicU32::new(0)).collect();
                pool.run(parts, |part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn many_callers_and_nested_jobs_all_finish() {
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let pool = ThreadPool::new(3);
                    for _ in 0..500 {
                        pool.run(5, |_| {
                            pool.run(2, |_| {
                                total.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 500 * 10);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = ThreadPool::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| pool.run(8, |part| assert_ne!(part, 5, "part five"))));
        assert!(caught.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(4, |part| {
            sum.fetch_add(part, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 6);
    }

    #[test]
    fn ranges_cover_everything_once_on_the_asked_boundaries() {
        let pool = ThreadPool::new(3);
        for (len, grain, multiple) in [(0, 1, 1), (1, 8, 4), (100, 10, 8), (1000, 1, 64), (7, 3, 1)] {
            let seen: Vec<AtomicU32> = (0..len).map(|_| AtomicU32::new(0)).collect();
            pool.run_ranges(len, grain, multiple, |range| {
                assert_eq!(range.start % multiple, 0);
                for i in range {
                    seen[i].fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_forked_child_computes_with_workers_of_its_own() {
        let pool = ThreadPool::new(2);
        pool.run(4, |_| {});
        // SAFETY: the child runs the pool and leaves by _exit, touching nothing the parent's threads could hold.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                let sum = AtomicUsize::new(0);
                pool.run(4, |part| {
                    sum.fetch_add(part, Ordering::Relaxed);
                });
                libc::_exit(i32::from(sum.into_inner() != 6));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        };
        assert_eq!(status, 0);
    }
}
