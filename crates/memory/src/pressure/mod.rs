//! Whether memory is getting short: measured by the system, judged by one policy everywhere.

mod monitor;
mod policy;

#[cfg(not(target_os = "linux"))]
mod sleep;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
#[path = "unknown.rs"]
mod system;

use std::io;
use std::path::Path;

pub use monitor::{Monitor, Settings};
pub use policy::{Policy, Thresholds};

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is enough.
    #[default]
    Normal,
    /// Caches should shrink.
    Warning,
    /// The system is about to end processes.
    Critical,
}

impl Level {
    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Level::Normal => "normal",
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Bytes used of the limit, without what the system can drop at once.
    pub used: u64,
    /// The limit that is closest to being reached: a cgroup's or the machine's memory.
    pub limit: u64,
    /// Whose limit that is.
    pub scope: String,
    /// Percent of the last ten seconds in which some task waited for memory, where the system says so.
    pub some_stalled: Option<f64>,
    /// Percent of the last ten seconds in which all tasks waited for memory.
    pub all_stalled: Option<f64>,
    /// What the system itself calls the state, where it does.
    pub verdict: Level,
}

impl Reading {
    /// Fraction of the limit that is used.
    pub fn fill(&self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.used as f64 / self.limit as f64 }
    }
}

/// Measures now. `root` stands for `/` where the system describes itself in files.
pub fn read(root: &Path) -> io::Result<Reading> {
    system::Gauge::new(root)?.read()
}
