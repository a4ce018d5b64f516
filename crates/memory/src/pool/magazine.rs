//! The few free blocks that a thread keeps for itself.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::cache::Cache;
use super::shared::Shared;

/// The largest block that a magazine keeps. Of larger ones a thread would hoard too few to gain by it.
pub(super) const LARGEST_BLOCK: usize = 1 << 20;

/// The most bytes that a magazine keeps: what a core's share of the last cache level may hold.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// Its lock is nearly always free: only trimming comes to it from other threads.
pub(super) struct Magazine {
    pool: Weak<Shared>,
    pub(super) cache: Mutex<Cache>,
    /// Written by the owning thread only.
    hits: AtomicU64,
    bytes: AtomicU64,
}

impl Magazine {
    /// Counts an acquisition served from here; for the owning thread only.
    pub(super) fn count_hit(&self, bytes: usize) {
        // A load and a store cost a fifth of an atomic addition, and there is no second writer.
        self.hits.store(self.hits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    /// Acquisitions served from here, and their bytes.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

struct Magazines(Vec<Arc<Magazine>>);

thread_local! {
    static MAGAZINES: RefCell<Magazines> = const { RefCell::new(Magazines(Vec::new())) };
}

impl Drop for Magazines {
    fn drop(&mut self) {
        for magazine in self.0.drain(..) {
            if let Some(pool) = magazine.pool.upgrade() {
                pool.close_magazine(&magazine);
            }
        }
    }
}

/// Calls `f` with this thread's magazine of the pool; `None` while the thread ends, when it has none any more.
pub(super) fn with<R>(pool: &Arc<Shared>, f: impl FnOnce(&Magazine) -> R) -> Option<R> {
    MAGAZINES
        .try_with(|cell| {
            let mut magazines = cell.try_borrow_mut().ok()?;
            let of_pool = |magazine: &Arc<Magazine>| std::ptr::eq(magazine.pool.as_ptr(), Arc::as_ptr(pool));
            let place = magazines.0.iter().position(of_pool).or_else(|| magazines.open(pool))?;
            Some(f(&magazines.0[place]))
        })
        .ok()
        .flatten()
}

impl Magazines {
    #[cold]
    fn open(&mut self, pool: &Arc<Shared>) -> Option<usize> {
        // A magazine's weak reference keeps the address of its pool from being used again while it stands here.
        self.0.retain(|magazine| magazine.pool.strong_count() > 0);
        let magazine = Arc::new(Magazine {
            pool: Arc::downgrade(pool),
            cache: Mutex::new(Cache::new()),
            hits: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        pool.open_magazine(&magazine)?;
        self.0.push(magazine);
        Some(self.0.len() - 1)
    }
}

/// A small number that tells threads apart, for choosing among shared lists.
pub(super) fn thread_number() -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.try_with(|&number| number as usize).unwrap_or(0)
}
