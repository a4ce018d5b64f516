//! Memory that threads share.

/// Pointers to what different threads use parts of.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(T);

// SAFETY: whoever dereferences the pointers keeps the threads' parts apart.
unsafe impl<T: Copy> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    pub(crate) fn new(pointers: T) -> Shared<T> {
        Shared(pointers)
    }

    /// The pointers; taken through a method, so that closures share the whole and not its parts.
    #[inline(always)]
    pub(crate) fn get(&self) -> T {
        self.0
    }
}
