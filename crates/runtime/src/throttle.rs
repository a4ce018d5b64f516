//! A limit on CPU time: a post-paid token bucket, and the points where native work waits for it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{process_cpu_s, wall_s};

/// Seconds of waiting that a debt can amount to. Work outside of the bucket's control may run up any debt; without a
/// bound, what the bucket does control would stand still for as long afterwards.
const MOST_DELAY_S: f64 = 60.0;

/// Seconds of CPU that native work goes into debt before it waits. A wait costs two switches of context and the
/// spinning of workers that lose their caller, some 0.1 ms; a hundredth of this.
const QUANTUM_S: f64 = 0.01;

/// Longest wait at one point. A thread in native code does not hear Ctrl-C; what is left of a debt is paid at the next
/// point.
const MOST_PAUSE_S: f64 = 0.25;

/// A bucket of CPU seconds, filled at a rate and emptied by what the process has used. It has no clock of its own.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    level: f64,
    wall: f64,
    cpu: f64,
}

impl Bucket {
    /// A full bucket that gains `rate` CPU seconds a second and never holds more than `burst`.
    pub fn new(rate: f64, burst: f64, wall: f64, cpu: f64) -> Bucket {
        Bucket { rate, burst, level: burst, wall, cpu }
    }

    /// Takes note of the clocks, and returns the level: CPU seconds that may be used at once, or owed if negative.
    ///
    /// What is not used is lost beyond `burst`, so an idle time earns nothing.
    pub fn settle(&mut self, wall: f64, cpu: f64) -> f64 {
        let earned = self.rate * (wall - self.wall).max(0.0);
        let used = (cpu - self.cpu).max(0.0);
        self.level = (self.level + earned - used).clamp(-self.rate * MOST_DELAY_S, self.burst);
        self.wall = self.wall.max(wall);
        self.cpu = self.cpu.max(cpu);
        self.level
    }

    /// Seconds until nothing is owed, if nothing is used meanwhile.
    pub fn delay(&self) -> f64 {
        (-self.level / self.rate).max(0.0)
    }

    /// Changes the rate from the last settlement on.
    pub fn set_rate(&mut self, rate: f64, burst: f64) {
        (self.rate, self.burst) = (rate, burst);
        self.level = self.level.clamp(-rate * MOST_DELAY_S, burst);
    }
}

/// A bucket shared by threads.
#[derive(Debug)]
pub struct Throttle {
    bucket: Mutex<Bucket>,
    paused_ns: AtomicU64,
}

impl Throttle {
    /// A throttle over this bucket.
    pub fn new(bucket: Bucket) -> Throttle {
        Throttle { bucket: Mutex::new(bucket), paused_ns: AtomicU64::new(0) }
    }

    /// The bucket.
    pub fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds that native work has waited, summed over threads.
    pub fn paused_s(&self) -> f64 {
        self.paused_ns.load(Ordering::Relaxed) as f64 * 1e-9
    }

    /// Waits if more than a quantum is owed.
    fn pay(&self) {
        if self.bucket().settle(wall_s(), process_cpu_s()) > -QUANTUM_S {
            return;
        }
        let start = wall_s();
        loop {
            let delay = self.bucket().delay().min(start + MOST_PAUSE_S - wall_s());
            if delay <= 0.0 {
                break;
            }
            std::thread::sleep(Duration::from_secs_f64(delay));
            self.bucket().settle(wall_s(), process_cpu_s());
        }
        self.paused_ns.fetch_add(((wall_s() - start) * 1e9) as u64, Ordering::Relaxed);
    }
}

thread_local! {
    static CURRENT: RefCell<Vec<Arc<Throttle>>> = const { RefCell::new(Vec::new()) };
}

/// From here on, native work of this thread waits for this throttle.
pub fn enter(throttle: &Arc<Throttle>) {
    CURRENT.with_borrow_mut(|current| current.push(Arc::clone(throttle)));
}

/// Undoes the last [`enter`] with this throttle on this thread; false where there is none.
pub fn leave(throttle: &Arc<Throttle>) -> bool {
    CURRENT.with_borrow_mut(|current| {
        let last = current.iter().rposition(|entered| Arc::ptr_eq(entered, throttle));
        last.map(|index| current.remove(index)).is_some()
    })
}

/// A point where native work may wait: before each job of a [`ThreadPool`](crate::ThreadPool).
#[inline]
pub fn checkpoint() {
    let throttle = CURRENT.with_borrow(|current| current.last().cloned());
    if let Some(throttle) = throttle {
        throttle.pay();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_paid_for_afterwards() {
        let mut bucket = Bucket::new(0.5, 0.1, 100.0, 7.0);
        assert_eq!(bucket.delay(), 0.0);
        // A second of work on one core: half a second was earned, a tenth was there.
        assert!((bucket.settle(101.0, 8.0) + 0.4).abs() < 1e-12);
        assert!((bucket.delay() - 0.8).abs() < 1e-12);
        assert!(bucket.settle(101.8, 8.0).abs() < 1e-12);
    }

    #[test]
    fn idle_time_earns_no_more_than_a_burst() {
        let mut bucket = Bucket::new(0.5, 0.1, 0.0, 0.0);
        assert_eq!(bucket.settle(3600.0, 0.0), 0.1);
        assert_eq!(bucket.settle(7200.0, 0.0), 0.1);
    }

    #[test]
    fn clocks_that_go_back_change_nothing() {
        let mut bucket = Bucket::new(0.5, 0.1, 10.0, 5.0);
        bucket.settle(11.0, 6.0);
        let before = bucket.delay();
        bucket.settle(4.0, 1.0);
        assert_eq!(bucket.delay(), before);
        bucket.settle(11.0, 6.0);
        assert_eq!(bucket.delay(), before);
    }

    #[test]
    fn a_debt_is_bounded() {
        let mut bucket = Bucket::new(0.1, 0.01, 0.0, 0.0);
        bucket.settle(1.0, 1e6);
        assert!((bucket.delay() - MOST_DELAY_S).abs() < 1e-9);
        bucket.set_rate(0.01, 0.001);
        assert!((bucket.delay() - MOST_DELAY_S).abs() < 1e-9);
    }

    #[test]
    fn jobs_of_a_throttled_thread_wait_and_others_do_not() {
        let throttle = Arc::new(Throttle::new(Bucket::new(1.0, 0.0, wall_s(), process_cpu_s() - 0.05)));
        checkpoint();
        assert_eq!(throttle.paused_s(), 0.0);
        enter(&throttle);
        enter(&throttle);
        crate::ThreadPool::new(1).run(1, |_| {});
        let paused = throttle.paused_s();
        assert!(paused > 0.0);
        assert!(leave(&throttle) && leave(&throttle) && !leave(&throttle));
        checkpoint();
        assert_eq!(throttle.paused_s(), paused);
    }
}
