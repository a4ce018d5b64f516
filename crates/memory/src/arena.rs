//! Bump allocation: spans are cut off one block in turn and all given up at once.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ALIGNMENT;
use crate::AlignedBuffer;

/// Why an arena refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArenaError {
    /// What is left of the block is too small.
    #[error(
        "{requested} bytes do not fit: {used} of the arena's {capacity} bytes are used; reset it or make it larger"
    )]
    Full {
        /// Bytes that were asked for.
        requested: usize,
        /// Bytes used.
        used: usize,
        /// Bytes the arena has.
        capacity: usize,
    },
    /// Spans still use the block.
    #[error("{spans} spans of the arena are still in use; drop them first, or detach them")]
    InUse {
        /// How many.
        spans: usize,
    },
    /// The alignment is not a power of two.
    #[error("an alignment must be a power of two, got {0}")]
    Alignment(usize),
    /// The system has no memory.
    #[error("the system has no memory for an arena of {0} bytes")]
    OutOfMemory(usize),
}

/// A block of memory from which spans are cut in turn.
///
/// A reset makes the whole block free again, so it is refused while a span is alive: no span ever sees its bytes
/// handed out anew. [`detach`](Self::detach) is the way on: it leaves the old block to the spans that use it.
#[derive(Debug)]
pub struct Arena {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    block: Arc<ArenaBlock>,
    used: usize,
    peak: usize,
}

struct ArenaBlock(AlignedBuffer);

impl Arena {
    /// An arena of `capacity` bytes. Pages nobody touches take no memory.
    pub fn new(capacity: usize) -> Result<Arena, ArenaError> {
        let block = Self::block(capacity)?;
        Ok(Arena { capacity, state: Mutex::new(State { block, used: 0, peak: 0 }) })
    }

    fn block(capacity: usize) -> Result<Arc<ArenaBlock>, ArenaError> {
        AlignedBuffer::try_new(capacity)
            .map(|buffer| Arc::new(ArenaBlock(buffer)))
            .ok_or(ArenaError::OutOfMemory(capacity))
    }

    /// The next `len` bytes that start at a multiple of `align`. What they hold is left over from before the reset.
    pub fn alloc(&self, len: usize, align: usize) -> Result<Span, ArenaError> {
        if !align.is_power_of_two() {
            return Err(ArenaError::Alignment(align));
        }
        let mut state = self.lock();
        let base = state.block.0.pointer().as_ptr();
        let full = ArenaError::Full { requested: len, used: state.used, capacity: self.capacity };
        // Counted from the address, as a caller may ask for more than the block's own alignment.
        let start = (base.addr() + state.used).checked_next_multiple_of(align).map(|at| at - base.addr());
        let end = start.and_then(|start| start.checked_add(len)).filter(|&end| end <= self.capacity);
        let (Some(start), Some(end)) = (start, end) else { return Err(full) };
        state.used = end;
        state.peak = state.peak.max(end);
        Ok(Span { pointer: base.wrapping_add(start), len, _block: Arc::clone(&state.block) })
    }

    /// As [`alloc`](Self::alloc), on a cache-line boundary.
    pub fn alloc_aligned(&self, len: usize) -> Result<Span, ArenaError> {
        self.alloc(len, ALIGNMENT)
    }

    /// Makes all bytes free again; refused while spans are alive.
    pub fn reset(&self) -> Result<(), ArenaError> {
        let mut state = self.lock();
        // get_mut also orders every use of the dropped spans before what comes next.
        if Arc::get_mut(&mut state.block).is_none() {
            return Err(ArenaError::InUse { spans: Arc::strong_count(&state.block) - 1 });
        }
        state.used = 0;
        Ok(())
    }

    /// Makes all bytes free again, in a new block where spans are alive: they keep the old one until they die.
    pub fn detach(&self) -> Result<(), ArenaError> {
        let mut state = self.lock();
        if Arc::get_mut(&mut state.block).is_none() {
            state.block = Self::block(self.capacity)?;
        }
        state.used = 0;
        Ok(())
    }

    /// Bytes the arena has.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes used, gaps between spans included.
    pub fn used(&self) -> usize {
        self.lock().used
    }

    /// The most bytes that were used between two resets.
    pub fn peak(&self) -> usize {
        self.lock().peak
    }

    /// Spans of the current block that are alive.
    pub fn spans(&self) -> usize {
        Arc::strong_count(&self.lock().block) - 1
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes cut off an arena's block. They stay valid for as long as this lives, even beyond the arena.
pub struct Span {
    pointer: *mut u8,
    len: usize,
    _block: Arc<ArenaBlock>,
}

// SAFETY: no two spans that are alive share bytes, so these belong to this value alone.
unsafe impl Send for Span {}
// SAFETY: shared access only reads.
unsafe impl Sync for Span {}

impl Span {
    /// The first byte, for those who write without a reference; they answer for there being none meanwhile.
    pub fn as_raw(&self) -> *mut u8 {
        self.pointer
    }
}

impl Deref for Span {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block, kept alive by self, holds len initialised bytes at the pointer.
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }
}

impl DerefMut for Span {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; self is borrowed exclusively and shares its bytes with no other span.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) }
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Span({} bytes)", self.len)
    }
}

impl std::fmt::Debug for ArenaBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ArenaBlock({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reset_waits_for_the_spans_and_a_detach_leaves_them_their_block() {
        let arena = Arena::new(1000).unwrap();
        let mut first = arena.alloc_aligned(10).unwrap();
        first.fill(1);
        assert_eq!(arena.reset(), Err(ArenaError::InUse { spans: 1 }));
        arena.detach().unwrap();
        assert_eq!((arena.used(), arena.spans()), (0, 0));
        let mut second = arena.alloc_aligned(10).unwrap();
        second.fill(2);
        assert_eq!(*first, [1; 10]);
        let place = second.as_raw();
        drop((first, second));
        arena.reset().unwrap();
        assert_eq!(arena.alloc_aligned(10).unwrap().as_raw(), place);
        assert_eq!(arena.peak(), 10);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let arena = Arena::new(100).unwrap();
        let span = arena.alloc(60, 1).unwrap();
        let full = |requested| Err(ArenaError::Full { requested, used: 60, capacity: 100 });
        assert_eq!(arena.alloc(41, 1).map(|_| ()), full(41));
        assert_eq!(arena.alloc(usize::MAX, 1).map(|_| ()), full(usize::MAX));
        assert_eq!(arena.alloc(1, 1 << 63).map(|_| ()), full(1));
        assert_eq!(arena.alloc(1, 24).map(|_| ()), Err(ArenaError::Alignment(24)));
        assert!(matches!(Arena::new(usize::MAX / 2), Err(ArenaError::OutOfMemory(_))));
        drop(span);
        assert_eq!(arena.alloc(40, 1).unwrap().len(), 40);
    }

    proptest! {
        #[test]
        fn spans_are_aligned_and_keep_what_is_written(
            requests in prop::collection::vec((0..300_usize, 0..10_u32), 1..40),
        ) {
            let arena = Arena::new(8000).unwrap();
            let mut spans = Vec::new();
            for (index, &(len, log)) in requests.iter().enumerate() {
                let Ok(mut span) = arena.alloc(len, 1 << log) else { continue };
                prop_assert_eq!(span.as_raw().addr() % (1 << log), 0);
                span.fill(index as u8);
                spans.push((index as u8, span));
            }
            for (value, span) in &spans {
                prop_assert!(span.iter().all(|byte| byte == value));
            }
        }
    }

    #[test]
    fn threads_share_an_arena() {
        let arena = Arena::new(1 << 16).unwrap();
        let rounds = if cfg!(miri) { 1 } else { 20 };
        for _ in 0..rounds {
            std::thread::scope(|scope| {
                for mark in 0..4_u8 {
                    let arena = &arena;
                    scope.spawn(move || {
                        let mut spans: Vec<Span> =
                            (0..50).map(|_| arena.alloc_aligned(100).unwrap()).collect();
                        spans.iter_mut().for_each(|span| span.fill(mark));
                        assert!(spans.iter().all(|span| span.iter().all(|&byte| byte == mark)));
                    });
                }
            });
            arena.reset().unwrap();
        }
    }
}
