//! Memory that threads share.

/// Bytes of a cache line, which scratch memory is cut at multiples of.
pub(crate) const CACHE_LINE: usize = 64;

/// A pointer whose parts different threads use.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub *mut u8);

// SAFETY: whoever dereferences it keeps the threads' parts apart.
unsafe impl Sync for Shared {}
