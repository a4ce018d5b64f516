use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use super::system::{Gauge, Sleeper};
use super::{Level, Policy, Reading, Thresholds};
use crate::pool;
use crate::usage::resident_bytes;

/// What a monitor watches for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From where on a reading stands for a level.
    pub thresholds: Thresholds,
    /// Whether the pools of this process are trimmed.
    pub trim: bool,
    /// Stands for `/` where the system describes itself in files.
    pub root: PathBuf,
    /// Bytes of physical memory that this process is to stay under; a limit like those of the system.
    pub process_limit: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            thresholds: Thresholds::default(),
            trim: true,
            root: PathBuf::from("/"),
            process_limit: None,
        }
    }
}

/// A thread that sleeps until memory may be short, trims the pools when it is, and tells of changes.
///
/// It also trims what pools have kept beyond their own `trim_after`, which an idle pool cannot do by itself.
/// A forked child has no such thread; there the monitor stays at its last level.
pub struct Monitor {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
    owner_pid: u32,
}

struct Shared {
    sleeper: Sleeper,
    stopping: AtomicBool,
    state: Mutex<(Level, Reading)>,
    trimmed: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, (Level, Reading)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    /// Starts the thread; `on_change` is called on it, with the new level, whenever that differs from the last.
    ///
    /// # Errors
    /// Where the system does not say how short memory is, or gives no thread.
    pub fn start(
        settings: Settings,
        mut on_change: impl FnMut(Level, &Reading) + Send + 'static,
    ) -> io::Result<Monitor> {
        let mut gauge = Gauge::new(&settings.root)?;
        let sleeper = Sleeper::new(&gauge)?;
        let reading = read(&mut gauge, settings.process_limit)?;
        let mut policy = Policy::new(settings.thresholds);
        let level = policy.step(Duration::ZERO, &reading);
        let shared = Arc::new(Shared {
            sleeper,
            stopping: AtomicBool::new(false),
            state: Mutex::new((level, reading.clone())),
            trimmed: AtomicU64::new(0),
        });
        let inside = Arc::clone(&shared);
        let work = move || {
            let start = Instant::now();
            let (mut last, mut level, mut reading) = (Level::Normal, level, reading);
            loop {
                if settings.trim {
                    inside.trimmed.fetch_add(trim(level) as u64, Ordering::Relaxed);
                }
                if level != last {
                    last = level;
                    on_change(level, &reading);
                }
                // The kernel wakes nobody for a limit that it does not know.
                let woken = inside.sleeper.is_woken_by_stalls() && settings.process_limit.is_none();
                inside.sleeper.sleep(interval(level, &reading, woken));
                if inside.stopping.load(Ordering::Acquire) {
                    return;
                }
                // Where a file cannot be read this once, the last reading stands.
                if let Ok(fresh) = read(&mut gauge, settings.process_limit) {
                    level = policy.step(start.elapsed(), &fresh);
                    *inside.state() = (level, fresh.clone());
                    reading = fresh;
                }
            }
        };
        let thread = std::thread::Builder::new().name("vedette-pressure".to_owned()).spawn(work)?;
        let thread_id = thread.thread().id();
        Ok(Monitor { shared, thread: Mutex::new(Some(thread)), thread_id, owner_pid: std::process::id() })
    }

    /// The level now.
    pub fn level(&self) -> Level {
        self.shared.state().0
    }

    /// The last reading.
    pub fn reading(&self) -> Reading {
        self.shared.state().1.clone()
    }

    /// Bytes given back to the system so far.
    pub fn trimmed_bytes(&self) -> u64 {
        self.shared.trimmed.load(Ordering::Relaxed)
    }

    /// Whether the thread goes on.
    pub fn is_running(&self) -> bool {
        std::process::id() == self.owner_pid && !self.shared.stopping.load(Ordering::Acquire)
    }

    /// Measures now instead of later.
    pub fn wake(&self) {
        if self.is_running() {
            self.shared.sleeper.wake();
        }
    }

    /// Ends the thread and waits for it, unless called on it.
    pub fn stop(&self) {
        let running = self.is_running();
        self.shared.stopping.store(true, Ordering::Release);
        if !running {
            return;
        }
        self.shared.sleeper.wake();
        if std::thread::current().id() == self.thread_id {
            return;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic in on_change has been reported on that thread; it ended the thread, as is wanted here.
            let _ = thread.join();
        }
    }
}

impl Drop for Monitor {
    /// Ends the thread without waiting for it, as it may be waiting for what the dropping thread holds.
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.sleeper.wake();
    }
}

/// What the system says, or the limit of this process where that is closer.
fn read(gauge: &mut Gauge, process_limit: Option<u64>) -> io::Result<Reading> {
    let mut reading = gauge.read()?;
    if let (Some(limit), Some(used)) = (process_limit, resident_bytes()) {
        let own = Reading { used: used as u64, limit, scope: "process".to_owned(), ..reading.clone() };
        if own.fill() > reading.fill() {
            reading = own;
        }
    }
    Ok(reading)
}

fn trim(level: Level) -> usize {
    match level {
        Level::Normal => pool::trim_aged(),
        // What was free for a second is not part of the work at hand.
        Level::Warning => pool::trim_all(Duration::from_secs(1)),
        Level::Critical => pool::trim_all(Duration::ZERO),
    }
}

/// How long a reading can be trusted: the emptier the memory, the longer it takes to fill.
fn interval(level: Level, reading: &Reading, woken_by_stalls: bool) -> Duration {
    let calm = match reading.fill() {
        _ if level != Level::Normal => Duration::from_secs(1),
        ..0.5 => Duration::from_secs(10),
        ..0.75 => Duration::from_secs(3),
        _ => Duration::from_secs(1),
    };
    if woken_by_stalls || reading.fill() < 0.25 { calm } else { calm.min(Duration::from_secs(3)) }
}
