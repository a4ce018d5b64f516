use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A sleep that another thread can end.
pub(super) struct Sleeper {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Sleeper {
    pub(super) fn new(_gauge: &super::system::Gauge) -> io::Result<Sleeper> {
        Ok(Sleeper { woken: Mutex::new(false), wake: Condvar::new() })
    }

    pub(super) fn sleep(&self, at_most: Duration) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut woken, _) = self
            .wake
            .wait_timeout_while(woken, at_most, |woken| !*woken)
            .unwrap_or_else(PoisonError::into_inner);
        *woken = false;
    }

    pub(super) fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    pub(super) fn is_woken_by_stalls(&self) -> bool {
        false
    }
}
