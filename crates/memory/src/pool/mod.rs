//! A pool of recycled blocks.
//!
//! A block is looked for in the calling thread's magazine, then in lists that all threads share, and only then asked
//! of the system; it goes back the same way, on whatever thread its lease ends. A block is owned by value: it stands
//! in exactly one list or one lease, so it can neither be handed out twice nor be released twice.
//!
//! No lock is held while memory is asked of the system or given back, nor while code of others runs.

mod block;
mod cache;
mod class;
mod guard;
mod leaks;
mod magazine;
mod shared;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use block::Block;
pub use block::Lease;
pub use guard::{CANARY, RELEASED, UNWRITTEN, Violation, ViolationKind};
pub use leaks::{LeakTracking, Outstanding, StackFrame};
use shared::Shared;
pub use stats::{ClassBytes, Stats};

use crate::lock::lock;

/// How a pool behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the pool is called in reports.
    pub name: String,
    /// The most bytes it ever holds, blocks in use and free ones together; `None` for no limit.
    pub capacity: Option<usize>,
    /// How long a block stays free before it may go back to the system.
    pub trim_after: Duration,
    /// Which acquisitions are recorded.
    pub leak_tracking: LeakTracking,
    /// Whether blocks are filled with patterns and checked for writes out of bounds and after release.
    pub debug: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: String::new(),
            capacity: None,
            // As jemalloc: long enough for work that comes in waves, short enough for an idle process to be small.
            trim_after: Duration::from_secs(10),
            leak_tracking: LeakTracking::Off,
            debug: false,
        }
    }
}

/// Why a block could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The pool would hold more than its capacity.
    #[error(
        "{requested} bytes do not fit: the pool may hold {capacity} bytes and {in_use} of them are in use; \
         release blocks or raise capacity_bytes"
    )]
    OverCapacity {
        /// Bytes of the block that was needed.
        requested: usize,
        /// Bytes of blocks in use.
        in_use: usize,
        /// The pool's limit.
        capacity: usize,
    },
    /// The system has no memory.
    #[error("the system has no memory for a block of {requested} bytes")]
    OutOfMemory {
        /// Bytes that were asked for.
        requested: usize,
    },
}

/// A pool of recycled blocks. Clones are handles to the same pool; blocks in use outlive it.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

impl BufferPool {
    /// An empty pool.
    pub fn new(options: Options) -> BufferPool {
        let shared = Arc::new(Shared::new(options));
        register(&shared);
        BufferPool { shared }
    }

    /// A block of at least `len` bytes. What it holds is left over from its last use.
    pub fn acquire(&self, len: usize) -> Result<Lease, PoolError> {
        self.acquire_with(len, Vec::new)
    }

    /// As [`acquire`](Self::acquire); `stack` is called where the acquisition is to be recorded. No lock is held
    /// meanwhile.
    pub fn acquire_with(
        &self,
        len: usize,
        stack: impl FnOnce() -> Vec<StackFrame>,
    ) -> Result<Lease, PoolError> {
        let mut lease = Lease::new(self.shared.take(len)?, len);
        if self.shared.leaks.wants_this_one() {
            lease.record = self.shared.leaks.insert(len, stack());
        }
        Ok(lease)
    }

    /// Gives the blocks that have been free for `older_than` back to the system; returns their bytes.
    ///
    /// With zero, blocks that the debug mode keeps aside go too.
    pub fn trim(&self, older_than: Duration) -> usize {
        self.shared.trim(older_than)
    }

    /// What the pool holds and has done.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Starts the peak anew from what is in use now.
    pub fn reset_peak(&self) {
        self.shared.reset_peak();
    }

    /// The recorded blocks that have been in use for at least `older_than`, oldest first.
    pub fn outstanding(&self, older_than: Duration) -> Vec<Outstanding> {
        self.shared.leaks.outstanding(older_than)
    }

    /// The wrong writes that the debug mode has found.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.guard.as_ref().map(guard::Guard::violations).unwrap_or_default()
    }

    /// How the pool behaves.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferPool").field("options", self.options()).finish_non_exhaustive()
    }
}

/// The pool of those who need none of their own.
pub fn default_pool() -> &'static BufferPool {
    static POOL: OnceLock<BufferPool> = OnceLock::new();
    POOL.get_or_init(|| BufferPool::new(Options { name: "default".to_owned(), ..Options::default() }))
}

/// Trims every pool of the process; returns the bytes given back.
pub fn trim_all(older_than: Duration) -> usize {
    alive().iter().map(|pool| pool.trim(older_than)).sum()
}

/// Lets every pool give back what has been free for longer than its own `trim_after`.
pub fn trim_aged() -> usize {
    alive().iter().map(|pool| pool.trim(pool.options.trim_after)).sum()
}

struct Registry {
    owner_pid: u32,
    pools: Mutex<Vec<Weak<Shared>>>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry { owner_pid: std::process::id(), pools: Mutex::default() })
}

fn register(pool: &Arc<Shared>) {
    let registry = registry();
    if let Some(mut pools) = lock(&registry.pools, registry.owner_pid) {
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }
}

/// Every pool there is. They are collected first, so that the last owner of one may drop it without the lock.
fn alive() -> Vec<Arc<Shared>> {
    let registry = registry();
    lock(&registry.pools, registry.owner_pid)
        .map(|pools| pools.iter().filter_map(Weak::upgrade).collect())
        .unwrap_or_default()
}
