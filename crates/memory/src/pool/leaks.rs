//! Who holds which block, since when, and where it was taken.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// Which acquisitions are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeakTracking {
    /// None.
    #[default]
    Off,
    /// One in so many (at least 1).
    Sampled(u32),
    /// Every one.
    Full,
}

/// One call on the way to an acquisition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// Source file.
    pub file: String,
    /// Line in it, from 1.
    pub line: u32,
    /// Function.
    pub function: String,
}

/// A recorded block that has not come back.
#[derive(Clone, Debug)]
pub struct Outstanding {
    /// Number of the acquisition; later ones have higher numbers.
    pub id: u64,
    /// Bytes asked for.
    pub size: usize,
    /// Time since it was acquired.
    pub age: Duration,
    /// The calls that led to it, innermost first; empty where the caller gave none.
    pub stack: Vec<StackFrame>,
}

struct Record {
    size: usize,
    since: Instant,
    stack: Vec<StackFrame>,
}

// More than the threads that usually acquire at once, so that they rarely meet at one lock.
const SHARDS: usize = 8;

pub(super) struct LeakTracker {
    tracking: LeakTracking,
    owner_pid: u32,
    acquisitions: AtomicU64,
    next_id: AtomicU64,
    records: [Mutex<HashMap<NonZeroU64, Record>>; SHARDS],
}

impl LeakTracker {
    pub(super) fn new(tracking: LeakTracking, owner_pid: u32) -> LeakTracker {
        LeakTracker {
            tracking,
            owner_pid,
            acquisitions: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            records: Default::default(),
        }
    }

    pub(super) fn wants_this_one(&self) -> bool {
        match self.tracking {
            LeakTracking::Off => false,
            LeakTracking::Sampled(period) => {
                self.acquisitions.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(period.max(1)))
            }
            LeakTracking::Full => true,
        }
    }

    pub(super) fn insert(&self, size: usize, stack: Vec<StackFrame>) -> Option<NonZeroU64> {
        let id = NonZeroU64::new(self.next_id.fetch_add(1, Ordering::Relaxed))?;
        let record = Record { size, since: Instant::now(), stack };
        lock(self.shard(id), self.owner_pid)?.insert(id, record);
        Some(id)
    }

    pub(super) fn remove(&self, id: NonZeroU64) {
        let record = lock(self.shard(id), self.owner_pid).and_then(|mut records| records.remove(&id));
        // The strings are freed here, after the lock.
        drop(record);
    }

    pub(super) fn outstanding(&self, older_than: Duration) -> Vec<Outstanding> {
        let now = Instant::now();
        let mut found = Vec::new();
        for shard in &self.records {
            let Some(records) = lock(shard, self.owner_pid) else { continue };
            for (id, record) in records.iter() {
                let age = now.saturating_duration_since(record.since);
                if age >= older_than {
                    let stack = record.stack.clone();
                    found.push(Outstanding { id: id.get(), size: record.size, age, stack });
                }
            }
        }
        found.sort_by_key(|block| block.id);
        found
    }

    fn shard(&self, id: NonZeroU64) -> &Mutex<HashMap<NonZeroU64, Record>> {
        &self.records[id.get() as usize % SHARDS]
    }
}
