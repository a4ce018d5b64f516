//! The monitor, on files that stand for the system's. Alone in its process, since it trims the pools of everybody.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use vedette_memory::BufferPool;
use vedette_memory::pool::Options;
use vedette_memory::pressure::{Level, Monitor, Settings, read};

fn fill(root: &Path, percent: u32) {
    let text = format!("MemTotal: 100000 kB\nMemAvailable: {} kB\n", 1000 * (100 - percent));
    // Renamed into place, so that the monitor never sees half of it.
    std::fs::create_dir_all(root.join("proc")).unwrap();
    std::fs::write(root.join("proc/new"), text).unwrap();
    std::fs::rename(root.join("proc/new"), root.join("proc/meminfo")).unwrap();
}

fn root(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vedette-monitor-{name}-{}", std::process::id()))
}

const SOON: Duration = Duration::from_secs(30);

#[test]
fn it_trims_the_pools_and_tells_of_changes() {
    let root = root("trims");
    fill(&root, 40);
    let pool = BufferPool::new(Options::default());
    drop(pool.acquire(5 << 20).unwrap());
    let (send, changes) = mpsc::channel();
    let settings = Settings { root: root.clone(), ..Settings::default() };
    let monitor = Monitor::start(settings, move |level, reading| {
        send.send((level, reading.fill())).unwrap();
    })
    .unwrap();
    assert_eq!((monitor.level(), pool.stats().held), (Level::Normal, 5 << 20));
    fill(&root, 97);
    monitor.wake();
    assert_eq!(changes.recv_timeout(SOON).unwrap(), (Level::Critical, 0.97));
    assert_eq!((pool.stats().held, monitor.trimmed_bytes()), (0, 5 << 20));
    assert_eq!((monitor.level(), monitor.reading().fill()), (Level::Critical, 0.97));
    assert!(monitor.is_running());
    monitor.stop();
    monitor.stop();
    monitor.wake();
    assert!(!monitor.is_running());
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn it_may_start_under_pressure_and_be_dropped_while_it_sleeps() {
    let root = root("starts");
    fill(&root, 90);
    let (send, changes) = mpsc::channel();
    let settings = Settings { root: root.clone(), trim: false, ..Settings::default() };
    let monitor = Monitor::start(settings, move |level, _| send.send(level).unwrap()).unwrap();
    assert_eq!(monitor.level(), Level::Warning);
    assert_eq!(changes.recv_timeout(SOON).unwrap(), Level::Warning);
    drop(monitor);
    assert!(changes.recv().is_err());
    assert_eq!(read(&root).unwrap().fill(), 0.9);
    std::fs::remove_dir_all(&root).unwrap();
    assert!(Monitor::start(Settings { root, ..Settings::default() }, |_, _| ()).is_err());
}
