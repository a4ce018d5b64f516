//! Pools of tasks: each worker has a queue of its own, and takes from others when that is empty.
//!
//! Unlike [`ThreadPool`](crate::ThreadPool), which splits one computation, such a pool runs many independent tasks and
//! nobody waits inside it. Workers start when there is work for them, and sleep at once when there is none.

mod queue;
mod thread;
mod worker;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use queue::Queues;
pub use thread::{Priority, affinity_of_thread};
use worker::WorkerCounters;

/// A task.
pub type Job = Box<dyn FnOnce() + Send>;

/// What a pool is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Prefix of the threads' names.
    pub name: String,
    /// Workers.
    pub threads: usize,
    /// For each worker, the cores it may run on; none where it may run on all.
    pub affinity: Option<Vec<Vec<usize>>>,
    /// How the system ranks the workers among all threads.
    pub priority: Priority,
}

/// What one worker has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerStats {
    /// Tasks that ended.
    pub tasks: u64,
    /// Times it took tasks from another worker.
    pub steals: u64,
    /// Seconds in tasks.
    pub busy_s: f64,
    /// Seconds since it started, less those in tasks.
    pub idle_s: f64,
    /// CPU seconds of its thread, as of its last task.
    pub cpu_s: f64,
    /// The cores it may run on, as the system says.
    pub cores: Vec<usize>,
}

/// What a pool has done.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Tasks that wait.
    pub queued: usize,
    /// Tasks that run.
    pub running: usize,
    /// The workers that have started.
    pub workers: Vec<WorkerStats>,
}

/// A pool of workers.
pub struct StealingPool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    owner_pid: u32,
}

pub(crate) struct Shared {
    settings: Settings,
    queues: Queues,
    state: Mutex<State>,
    wake: Condvar,
    ended: Condvar,
    /// Workers asleep; read without the lock by those who submit.
    sleeping: AtomicUsize,
    running: AtomicUsize,
    counters: Vec<WorkerCounters>,
}

#[derive(Default)]
struct State {
    closing: bool,
    started: usize,
    alive: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StealingPool {
    /// A pool. Workers start with the first tasks, except that one starts here where the system might refuse what is
    /// asked of it.
    ///
    /// # Errors
    /// The system refuses the affinity or the priority, or gives no thread.
    pub fn new(settings: Settings) -> io::Result<StealingPool> {
        let threads = settings.threads.clamp(1, crate::pool::MAX_THREADS);
        let probe = settings.affinity.is_some() || settings.priority != Priority::Normal;
        let shared = Arc::new(Shared {
            queues: Queues::new(threads),
            state: Mutex::default(),
            wake: Condvar::new(),
            ended: Condvar::new(),
            sleeping: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            counters: (0..threads).map(|_| WorkerCounters::default()).collect(),
            settings: Settings { threads, ..settings },
        });
        let pool = StealingPool { shared, threads: Mutex::default(), owner_pid: std::process::id() };
        if probe {
            let (tell, hear) = std::sync::mpsc::channel();
            pool.start_worker(Some(tell))?;
            if let Ok(Err(refusal)) = hear.recv() {
                pool.close();
                return Err(refusal);
            }
        }
        Ok(pool)
    }

    /// Puts a task into the queue of the calling worker, or of the pool where the caller is none. False, with the task
    /// dropped, where the pool is closed.
    pub fn submit(&self, job: Job) -> bool {
        let shared = &self.shared;
        // Closing empties the queues under this lock, so no task gets into a closed pool.
        let state = lock(&shared.state);
        if state.closing {
            return false;
        }
        shared.queues.push(worker::current_slot(shared), job);
        let start = shared.sleeping.load(Ordering::SeqCst) == 0 && state.started < shared.settings.threads;
        if !start {
            shared.wake.notify_one();
        }
        drop(state);
        if start {
            // Where the system gives no more threads, those there are will do; the first one must be.
            let _ = self.start_worker(None);
        }
        true
    }

    fn start_worker(&self, report: Option<std::sync::mpsc::Sender<io::Result<()>>>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut state = lock(&self.shared.state);
        if state.closing || state.started == self.shared.settings.threads {
            return Ok(());
        }
        let slot = state.started;
        let name = format!("{}-{slot}", self.shared.settings.name);
        let thread = std::thread::Builder::new().name(name).spawn(move || shared.work(slot, report))?;
        state.started += 1;
        state.alive += 1;
        drop(state);
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// Lets workers end once they have run what is queued.
    pub fn close(&self) {
        if !self.is_of_this_process() {
            return;
        }
        lock(&self.shared.state).closing = true;
        self.shared.wake.notify_all();
    }

    /// Waits until the workers of a closed pool have ended, but not longer; whether they have.
    pub fn join(&self, at_most: Duration) -> bool {
        if !self.is_of_this_process() {
            return true;
        }
        let end = Instant::now() + at_most;
        let mut state = lock(&self.shared.state);
        while state.alive > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        for thread in lock(&self.threads).drain(..) {
            // They are past their last task; a panic has been caught where it happened.
            let _ = thread.join();
        }
        true
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> Stats {
        if !self.is_of_this_process() {
            return Stats::default();
        }
        let started = lock(&self.shared.state).started;
        Stats {
            queued: self.shared.queues.len(),
            running: self.shared.running.load(Ordering::Relaxed),
            workers: self.shared.counters[..started].iter().map(WorkerCounters::stats).collect(),
        }
    }

    /// Whether the workers are of this process: a forked child has none of them, and locks it must not wait for.
    pub fn is_of_this_process(&self) -> bool {
        std::process::id() == self.owner_pid
    }
}

impl Drop for StealingPool {
    /// Workers run what is queued and end by themselves.
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
