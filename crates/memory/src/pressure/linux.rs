//! Linux: the memory of the machine, the limits of our cgroup and its ancestors, and pressure stall information (PSI).

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::{Level, Reading};
use crate::lock::try_lock;

/// Wakes us when tasks waited for memory for 200 ms of 2 s. Without privileges the kernel only takes windows that are
/// multiples of 2 s.
const TRIGGER: &[u8] = b"some 200000 2000000\0";

/// Where to read.
pub(super) struct Gauge {
    meminfo: PathBuf,
    /// Our cgroup and its ancestors, innermost first; none where the memory controller is not that of version 2.
    groups: Vec<PathBuf>,
    pressure: Option<PathBuf>,
    is_real: bool,
}

impl Gauge {
    pub(super) fn new(root: &Path) -> io::Result<Gauge> {
        let groups = groups(root).unwrap_or_default();
        let machine = root.join("proc/pressure/memory");
        let pressure = groups.first().map(|group| group.join("memory.pressure")).filter(|file| file.exists());
        let gauge = Gauge {
            meminfo: root.join("proc/meminfo"),
            pressure: pressure.or_else(|| machine.exists().then_some(machine)),
            groups,
            is_real: root == Path::new("/"),
        };
        Ok(gauge)
    }

    pub(super) fn read(&mut self) -> io::Result<Reading> {
        let meminfo = std::fs::read_to_string(&self.meminfo)?;
        let entry = |name| kilobytes(&meminfo, name).ok_or(io::ErrorKind::InvalidData);
        let total = entry("MemTotal:")?;
        let available = entry("MemAvailable:")?;
        let mut reading = Reading {
            used: total.saturating_sub(available),
            limit: total,
            scope: "machine".to_owned(),
            verdict: Level::Normal,
            ..Reading::default()
        };
        for group in &self.groups {
            if let Some((used, limit)) = usage(group)
                && used as f64 / limit as f64 > reading.fill()
            {
                (reading.used, reading.limit) = (used, limit);
                reading.scope = group.display().to_string();
            }
        }
        if let Some(text) = self.pressure.as_ref().and_then(|file| std::fs::read_to_string(file).ok()) {
            reading.some_stalled = stalled(&text, "some");
            reading.all_stalled = stalled(&text, "full");
        }
        Ok(reading)
    }
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The percentage `avg10` of a line of PSI.
fn stalled(pressure: &str, line: &str) -> Option<f64> {
    let words = pressure.lines().find_map(|text| text.strip_prefix(line))?.split_ascii_whitespace();
    words.filter_map(|word| word.strip_prefix("avg10=")).find_map(|percent| percent.parse().ok())
}

/// Bytes used and allowed in a group, where it has a limit. Pages of files that nobody has touched lately are left
/// out: the kernel drops them before it refuses anything.
fn usage(group: &Path) -> Option<(u64, u64)> {
    let number = |file| std::fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let limit = [number("memory.max"), number("memory.high")].into_iter().flatten().min()?;
    let statistics = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let inactive = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let droppable = inactive.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
    (limit > 0).then_some((number("memory.current")?.saturating_sub(droppable), limit))
}

/// The directories of our cgroup and its ancestors that have memory limits of their own.
///
/// The group stands in /proc/self/cgroup, seen from the root of the hierarchy; mountinfo says which part of that is
/// mounted where, which differs inside containers.
fn groups(root: &Path) -> Option<Vec<PathBuf>> {
    let own = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = std::fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let (mounted, place) = mounts.lines().find_map(cgroup2_mount)?;
    let inside = Path::new(path).strip_prefix(mounted).unwrap_or(Path::new(""));
    let top = root.join(place.trim_start_matches('/'));
    // A path with ".." leads out of what is mounted.
    let inside = if inside.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        inside
    } else {
        Path::new("")
    };
    let found =
        inside.ancestors().map(|part| top.join(part)).filter(|group| group.join("memory.current").exists());
    Some(found.collect())
}

/// What of the hierarchy is mounted, and where, if this line of mountinfo is of cgroup version 2.
fn cgroup2_mount(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let mount = (fields.next()?, fields.next()?);
    (after.split(' ').next()? == "cgroup2").then_some(mount)
}

/// A sleep that ends early when tasks wait for memory, or another thread says so.
pub(super) struct Sleeper {
    /// Held by the sleeping thread only.
    bell: Mutex<PipeReader>,
    cord: PipeWriter,
    trigger: Option<OwnedFd>,
}

impl Sleeper {
    pub(super) fn new(gauge: &Gauge) -> io::Result<Sleeper> {
        let (bell, cord) = io::pipe()?;
        let trigger = gauge.pressure.as_deref().filter(|_| gauge.is_real).and_then(set_trigger);
        Ok(Sleeper { bell: Mutex::new(bell), cord, trigger })
    }

    pub(super) fn is_woken_by_stalls(&self) -> bool {
        self.trigger.is_some()
    }

    pub(super) fn wake(&self) {
        // A full pipe wakes as well as one byte more.
        let _ = (&self.cord).write(&[0]);
    }

    pub(super) fn sleep(&self, at_most: Duration) {
        let Some(mut bell) = try_lock(&self.bell) else { return std::thread::sleep(at_most) };
        let watch = |file, events| libc::pollfd { fd: file, events, revents: 0 };
        let stalls = self.trigger.as_ref().map_or(-1, OwnedFd::as_raw_fd);
        // Poll passes by descriptors below zero.
        let mut watched = [watch(bell.as_raw_fd(), libc::POLLIN), watch(stalls, libc::POLLPRI)];
        let milliseconds = i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array has two entries, and both descriptors are open while self is borrowed.
        let ready = unsafe { libc::poll(watched.as_mut_ptr(), 2, milliseconds) };
        if watched[1].revents & libc::POLLERR != 0 {
            // The group is gone; without this pause each poll would end at once.
            std::thread::sleep(Duration::from_millis(500).min(at_most));
        }
        if ready > 0 && watched[0].revents & libc::POLLIN != 0 {
            let mut rings = [0; 64];
            let _ = bell.read(&mut rings);
        }
    }
}

fn set_trigger(file: &Path) -> Option<OwnedFd> {
    let mut options = OpenOptions::new();
    let mut file: File = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(file).ok()?;
    file.write_all(TRIGGER).ok()?;
    Some(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture(PathBuf);

    impl Fixture {
        fn new(name: &str) -> Fixture {
            let root = std::env::temp_dir().join(format!("vedette-pressure-{name}-{}", std::process::id()));
            let fixture = Fixture(root);
            fixture.write("proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  600 kB\n");
            fixture
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn mount(&self, line: &str, group: &str) {
            self.write("proc/self/mountinfo", &format!("24 1 0:22 / /proc rw - proc proc rw\n{line}\n"));
            self.write("proc/self/cgroup", &format!("4:memory:/old\n0::{group}\n"));
        }

        fn group(&self, path: &str, current: &str, limit: &str) {
            self.write(&format!("{path}/memory.current"), current);
            self.write(&format!("{path}/memory.max"), limit);
        }

        fn read(&self) -> Reading {
            Gauge::new(&self.0).unwrap().read().unwrap()
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const HOST: &str = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn without_groups_the_machine_is_the_limit() {
        let fixture = Fixture::new("machine");
        fixture.write(
            "proc/pressure/memory",
            "some avg10=1.50 avg60=0 avg300=0 total=9\nfull avg10=0.25 total=3\n",
        );
        let wanted = Reading {
            used: 400 << 10,
            limit: 1000 << 10,
            scope: "machine".to_owned(),
            some_stalled: Some(1.5),
            all_stalled: Some(0.25),
            verdict: Level::Normal,
        };
        assert_eq!(fixture.read(), wanted);
    }

    #[test]
    fn the_tightest_of_the_groups_above_us_counts() {
        let fixture = Fixture::new("tightest");
        fixture.mount(HOST, "/user/app");
        fixture.group("sys/fs/cgroup/user/app", "500\n", "max\n");
        fixture.group("sys/fs/cgroup/user", "900\n", "1000\n");
        fixture.write("sys/fs/cgroup/user/memory.stat", "anon 700\ninactive_file 100\nactive_file 3\n");
        fixture.write("sys/fs/cgroup/user/app/memory.pressure", "some avg10=7.00 total=9\n");
        let reading = fixture.read();
        assert_eq!((reading.used, reading.limit), (800, 1000));
        assert!(reading.scope.ends_with("/sys/fs/cgroup/user"), "{}", reading.scope);
        assert_eq!((reading.some_stalled, reading.all_stalled), (Some(7.0), None));
        fixture.write("sys/fs/cgroup/user/app/memory.high", "501\n");
        assert_eq!(fixture.read().limit, 501);
    }

    #[test]
    fn in_a_container_the_mounted_part_is_left_out_of_the_path() {
        let fixture = Fixture::new("container");
        fixture.mount("35 24 0:30 /pods/7 /sys/fs/cgroup ro - cgroup2 cgroup ro", "/pods/7/inner");
        fixture.group("sys/fs/cgroup/inner", "90", "100");
        assert_eq!(fixture.read().limit, 100);
        fixture.mount(HOST, "/../../elsewhere");
        fixture.group("sys/fs/cgroup", "95", "99");
        assert_eq!(fixture.read().limit, 99);
    }

    #[test]
    fn nonsense_is_refused_or_passed_by() {
        let fixture = Fixture::new("nonsense");
        fixture.mount(HOST, "/app");
        fixture.group("sys/fs/cgroup/app", "many", "0");
        fixture.write("sys/fs/cgroup/app/memory.pressure", "some avg10=x\n\nfull");
        let reading = fixture.read();
        assert_eq!((reading.scope.as_str(), reading.some_stalled), ("machine", None));
        fixture.write("proc/meminfo", "MemTotal: lots");
        assert!(Gauge::new(&fixture.0).unwrap().read().is_err());
    }

    #[test]
    fn this_machine_can_be_read() {
        let mut gauge = Gauge::new(Path::new("/")).unwrap();
        let reading = gauge.read().unwrap();
        assert!(reading.limit > 0 && reading.used <= reading.limit);
        let sleeper = Sleeper::new(&gauge).unwrap();
        sleeper.wake();
        sleeper.sleep(Duration::from_secs(3600));
        sleeper.sleep(Duration::from_millis(1));
    }
}
