use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// The lock, if nobody holds it at this moment.
///
/// Acquiring and releasing blocks never wait: there is always another list, or the system, to turn to. In a forked
/// child that also passes by locks which threads of the parent held, and which nobody will ever release.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The lock, waiting for it; in a process forked since `owner_pid` made it only for a moment, since its holder may
/// have stayed behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>, owner_pid: u32) -> Option<MutexGuard<'_, T>> {
    if let Some(guard) = try_lock(mutex) {
        return Some(guard);
    }
    if std::process::id() == owner_pid {
        return Some(mutex.lock().unwrap_or_else(PoisonError::into_inner));
    }
    for _ in 0..100 {
        std::thread::yield_now();
        if let Some(guard) = try_lock(mutex) {
            return Some(guard);
        }
    }
    None
}
