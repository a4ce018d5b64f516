use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Options;
use super::class::{CLASSES, class_size};
use super::shared::Padded;
use crate::usage::{PageFaults, page_faults};

/// What a pool holds and has done. Sizes are those of whole blocks.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The pool's name.
    pub name: String,
    /// Its limit.
    pub capacity: Option<usize>,
    /// Bytes in use.
    pub current: usize,
    /// The most bytes that were in use at once.
    pub peak: usize,
    /// Bytes handed out since the pool was made.
    pub total: u64,
    /// Bytes taken from the system and not given back: in use and free.
    pub held: usize,
    /// Of those, bytes in blocks for which the system agreed to try huge pages.
    pub huge: usize,
    /// Acquisitions served by a recycled block.
    pub hits: u64,
    /// Acquisitions for which the system was asked.
    pub misses: u64,
    /// Page faults of the whole process since the pool was made.
    pub page_faults: PageFaults,
    /// The classes that hold something, smallest first.
    pub classes: Vec<ClassBytes>,
}

/// What the blocks of one size class amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassBytes {
    /// Bytes of one block; `None` for all blocks beyond the largest class together.
    pub block: Option<usize>,
    /// Bytes in use.
    pub current: usize,
    /// Bytes free.
    pub free: usize,
}

pub(super) struct Counters {
    in_use: Padded<AtomicUsize>,
    peak: AtomicUsize,
    /// Hits in the shared lists, and those of threads that have ended.
    hits: Padded<AtomicU64>,
    bytes: AtomicU64,
    misses: AtomicU64,
    held: AtomicUsize,
    huge: AtomicUsize,
    held_by_class: [AtomicUsize; CLASSES + 1],
    faults_before: PageFaults,
}

impl Counters {
    pub(super) fn new() -> Counters {
        Counters {
            in_use: Padded(AtomicUsize::new(0)),
            peak: AtomicUsize::new(0),
            hits: Padded(AtomicU64::new(0)),
            bytes: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            huge: AtomicUsize::new(0),
            held_by_class: [const { AtomicUsize::new(0) }; CLASSES + 1],
            faults_before: page_faults(),
        }
    }

    pub(super) fn begin(&self, size: usize) {
        let in_use = self.in_use.0.fetch_add(size, Ordering::Relaxed) + size;
        if in_use > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(in_use, Ordering::Relaxed);
        }
    }

    pub(super) fn end(&self, size: usize) {
        self.in_use.0.fetch_sub(size, Ordering::Relaxed);
    }

    pub(super) fn in_use(&self) -> usize {
        self.in_use.0.load(Ordering::Relaxed)
    }

    pub(super) fn reset_peak(&self) {
        self.peak.store(self.in_use(), Ordering::Relaxed);
    }

    pub(super) fn count_hit(&self, size: usize) {
        self.take_over(1, size as u64);
    }

    pub(super) fn take_over(&self, hits: u64, bytes: u64) {
        self.hits.0.fetch_add(hits, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds to what is held, unless that passes the capacity; then it returns what is held.
    pub(super) fn reserve(&self, size: usize, capacity: usize) -> Result<(), usize> {
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(size).filter(|&sum| sum <= capacity)
            })
            .map(|_| ())
    }

    pub(super) fn unreserve(&self, size: usize) {
        self.held.fetch_sub(size, Ordering::Relaxed);
    }

    pub(super) fn count_miss(&self, slot: usize, size: usize, huge: bool) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size as u64, Ordering::Relaxed);
        self.held_by_class[slot].fetch_add(size, Ordering::Relaxed);
        if huge {
            self.huge.fetch_add(size, Ordering::Relaxed);
        }
    }

    pub(super) fn count_return(&self, slot: usize, size: usize, huge: bool) {
        self.held_by_class[slot].fetch_sub(size, Ordering::Relaxed);
        if huge {
            self.huge.fetch_sub(size, Ordering::Relaxed);
        }
        self.unreserve(size);
    }

    pub(super) fn stats(&self, options: &Options, hits: u64, bytes: u64, free: &[usize]) -> Stats {
        let classes = self.held_by_class.iter().zip(free).enumerate().filter_map(|(class, (held, &free))| {
            // Other threads go on meanwhile, so a block may be counted as free before it is counted as held.
            let held = held.load(Ordering::Relaxed).max(free);
            let block = (class < CLASSES).then(|| class_size(class));
            (held > 0).then_some(ClassBytes { block, current: held - free, free })
        });
        let faults = page_faults();
        Stats {
            name: options.name.clone(),
            capacity: options.capacity,
            current: self.in_use(),
            peak: self.peak.load(Ordering::Relaxed),
            total: self.bytes.load(Ordering::Relaxed) + bytes,
            held: self.held.load(Ordering::Relaxed),
            huge: self.huge.load(Ordering::Relaxed),
            hits: self.hits.0.load(Ordering::Relaxed) + hits,
            misses: self.misses.load(Ordering::Relaxed),
            page_faults: PageFaults {
                minor: faults.minor.saturating_sub(self.faults_before.minor),
                major: faults.major.saturating_sub(self.faults_before.major),
            },
            classes: classes.collect(),
        }
    }
}
