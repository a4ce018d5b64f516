//! A worker: takes tasks, runs them, and sleeps when there are none.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::queue::Source;
use super::{Shared, WorkerStats, lock, thread};
use crate::clock::thread_cpu_s;

thread_local! {
    /// Address of the pool this thread works for, and its place there.
    static PLACE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The place of the calling thread in this pool, if it is one of its workers.
pub(super) fn current_slot(shared: &Shared) -> Option<usize> {
    let (pool, slot) = PLACE.get();
    (pool == std::ptr::from_ref(shared).addr()).then_some(slot)
}

#[derive(Default)]
#[repr(align(64))]
pub(super) struct WorkerCounters {
    tasks: AtomicU64,
    steals: AtomicU64,
    busy_ns: AtomicU64,
    cpu_ns: AtomicU64,
    /// When the running task began, in nanoseconds since the worker started; 0 where none runs.
    since_ns: AtomicU64,
    started: OnceLock<Instant>,
    cores: Mutex<Vec<usize>>,
}

impl WorkerCounters {
    pub(super) fn stats(&self) -> WorkerStats {
        let seconds = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64 * 1e-9;
        let age = self.started.get().map_or(0.0, |start| start.elapsed().as_secs_f64());
        let current = match seconds(&self.since_ns) {
            0.0 => 0.0,
            since => (age - since).max(0.0),
        };
        let busy_s = seconds(&self.busy_ns) + current;
        WorkerStats {
            tasks: self.tasks.load(Ordering::Relaxed),
            steals: self.steals.load(Ordering::Relaxed),
            busy_s,
            idle_s: (age - busy_s).max(0.0),
            cpu_s: seconds(&self.cpu_ns),
            cores: lock(&self.cores).clone(),
        }
    }
}

impl Shared {
    pub(super) fn work(&self, slot: usize, report: Option<Sender<io::Result<()>>>) {
        PLACE.set((std::ptr::from_ref(self).addr(), slot));
        let start = *self.counters[slot].started.get_or_init(Instant::now);
        let cores = self.settings.affinity.as_ref().and_then(|cores| cores.get(slot));
        let settled = thread::settle(cores, self.settings.priority);
        *lock(&self.counters[slot].cores) = thread::affinity_of_thread();
        if let Some(report) = report {
            // Whoever asked is waiting for this.
            let _ = report.send(settled);
        }
        while let Some((job, source)) = self.next(slot) {
            let counters = &self.counters[slot];
            if source == Source::Stolen {
                counters.steals.fetch_add(1, Ordering::Relaxed);
            }
            self.running.fetch_add(1, Ordering::Relaxed);
            let began = start.elapsed().as_nanos() as u64;
            counters.since_ns.store(began.max(1), Ordering::Relaxed);
            // Tasks report their own failures; a panic must not end the worker.
            let _ = catch_unwind(AssertUnwindSafe(job));
            let took = start.elapsed().as_nanos() as u64 - began;
            counters.since_ns.store(0, Ordering::Relaxed);
            counters.busy_ns.fetch_add(took, Ordering::Relaxed);
            counters.cpu_ns.store((thread_cpu_s() * 1e9) as u64, Ordering::Relaxed);
            counters.tasks.fetch_add(1, Ordering::Relaxed);
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
        let mut state = lock(&self.state);
        state.alive -= 1;
        self.ended.notify_all();
    }

    /// The next task; none when the pool is closed and empty.
    fn next(&self, slot: usize) -> Option<(super::Job, Source)> {
        loop {
            if let Some(found) = self.queues.take(slot) {
                return Some(found);
            }
            let mut state = lock(&self.state);
            // Tasks are added under this lock, so either they are seen here or their notice finds this worker asleep.
            while self.queues.len() == 0 {
                if state.closing {
                    return None;
                }
                self.sleeping.fetch_add(1, Ordering::SeqCst);
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
            }
            drop(state);
            // A task that another worker is moving to its own queue is in none for a moment.
            std::thread::yield_now();
        }
    }
}
