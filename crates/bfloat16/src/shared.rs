//! Memory that threads share.

/// A pointer whose parts different threads use.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub *mut u8);

// SAFETY: whoever dereferences it keeps the threads' parts apart.
unsafe impl Sync for Shared {}
