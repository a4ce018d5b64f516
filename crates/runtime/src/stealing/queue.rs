//! Where tasks wait: a queue for each worker and one for those that come from outside.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Job, lock};

/// Tasks that a worker takes from the common queue at once, at most: enough to spare the lock, and few enough that
/// others need not steal them back.
const SHARE: usize = 8;

pub(super) struct Queues {
    outside: Mutex<VecDeque<Job>>,
    own: Vec<Mutex<VecDeque<Job>>>,
    waiting: AtomicUsize,
}

/// Where a task came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Own,
    Outside,
    Stolen,
}

impl Queues {
    pub(super) fn new(workers: usize) -> Queues {
        Queues {
            outside: Mutex::default(),
            own: (0..workers).map(|_| Mutex::default()).collect(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Tasks that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn push(&self, worker: Option<usize>, job: Job) {
        let mut queue = lock(worker.map_or(&self.outside, |slot| &self.own[slot]));
        queue.push_back(job);
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// A task for this worker: of its own the newest, whose data is still in its cache; of others' the oldest, half of
    /// what they have.
    pub(super) fn take(&self, worker: usize) -> Option<(Job, Source)> {
        let own = lock(&self.own[worker]).pop_back();
        let found = own.map(|job| (job, Source::Own)).or_else(|| {
            let outside = self.share(worker, &self.outside, SHARE).map(|job| (job, Source::Outside));
            outside.or_else(|| {
                let others = (1..self.own.len()).map(|step| (worker + step) % self.own.len());
                others
                    .filter_map(|other| self.share(worker, &self.own[other], usize::MAX))
                    .map(|job| (job, Source::Stolen))
                    .next()
            })
        })?;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        Some(found)
    }

    /// The oldest task of a queue; up to half of the rest, and `most` in all, move to the worker's own.
    fn share(&self, worker: usize, from: &Mutex<VecDeque<Job>>, most: usize) -> Option<Job> {
        let mut queue = lock(from);
        let first = queue.pop_front()?;
        let taken: Vec<Job> = {
            let count = (queue.len() / self.own.len().max(2)).min(most - 1);
            queue.drain(..count).collect()
        };
        drop(queue);
        if !taken.is_empty() {
            // The own queue is taken from at its back, so the oldest goes there.
            lock(&self.own[worker]).extend(taken.into_iter().rev());
        }
        Some(first)
    }
}
