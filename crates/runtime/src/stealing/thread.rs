//! What the system is asked to do with the calling thread: which cores it runs on, and how it ranks.

use std::io;

/// How the system ranks a thread among all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As the process.
    #[default]
    Normal,
    /// After others: this nice value on Linux, utility class on macOS, below normal on Windows.
    Nice(i32),
    /// When nobody else wants the core: SCHED_IDLE on Linux, background class on macOS, idle on Windows.
    Idle,
}

/// Applies both to the calling thread.
pub(super) fn settle(cores: Option<&Vec<usize>>, priority: Priority) -> io::Result<()> {
    if let Some(cores) = cores {
        set_affinity(cores)?;
    }
    match priority {
        Priority::Normal => Ok(()),
        other => set_priority(other),
    }
}

#[cfg(target_os = "linux")]
fn set_affinity(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a cpu_set_t is a plain array of bits, for which zeros are valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no core {core}")));
        }
        // SAFETY: the core is within the set, as was checked.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: 0 is the calling thread; the size is that of the set.
    let status = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The cores the calling thread may run on; empty where the system does not say.
#[cfg(target_os = "linux")]
pub fn affinity_of_thread() -> Vec<usize> {
    // SAFETY: a cpu_set_t is a plain array of bits, for which zeros are valid; the call fills what it is given.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return Vec::new();
        }
        set
    };
    // SAFETY: every number asked for is within the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

#[cfg(target_os = "linux")]
fn set_priority(priority: Priority) -> io::Result<()> {
    let status = match priority {
        // SAFETY: the call reads the one parameter it is given; 0 is the calling thread.
        Priority::Idle => unsafe {
            let parameter: libc::sched_param = std::mem::zeroed();
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameter)
        },
        // SAFETY: the call takes numbers only; on Linux a nice value belongs to a thread, and 0 is the calling one.
        Priority::Nice(value) => unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) },
        Priority::Normal => 0,
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "macos")]
fn set_priority(priority: Priority) -> io::Result<()> {
    let class = match priority {
        Priority::Idle => libc::qos_class_t::QOS_CLASS_BACKGROUND,
        Priority::Nice(_) => libc::qos_class_t::QOS_CLASS_UTILITY,
        Priority::Normal => return Ok(()),
    };
    // SAFETY: the call takes numbers only and concerns the calling thread.
    let status = unsafe { libc::pthread_set_qos_class_self_np(class, 0) };
    if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(status)) }
}

#[cfg(windows)]
fn set_affinity(cores: &[usize]) -> io::Result<()> {
    use windows_sys::Win32::System::Threading::{GetCurrentThread, SetThreadAffinityMask};
    let mut mask = 0_usize;
    for &core in cores {
        if core >= usize::BITS as usize {
            let message = format!("core {core} is outside of the first group of cores");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        mask |= 1 << core;
    }
    // SAFETY: the call takes the calling thread and a number.
    let before = unsafe { SetThreadAffinityMask(GetCurrentThread(), mask) };
    if before != 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(windows)]
fn set_priority(priority: Priority) -> io::Result<()> {
    use windows_sys::Win32::System::Threading::{
        GetCurrentThread, SetThreadPriority, THREAD_PRIORITY_BELOW_NORMAL, THREAD_PRIORITY_IDLE,
    };
    let level = match priority {
        Priority::Idle => THREAD_PRIORITY_IDLE,
        Priority::Nice(_) => THREAD_PRIORITY_BELOW_NORMAL,
        Priority::Normal => return Ok(()),
    };
    // SAFETY: the call takes the calling thread and a number.
    let done = unsafe { SetThreadPriority(GetCurrentThread(), level) };
    if done != 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(any(target_os = "linux", windows)))]
fn set_affinity(_cores: &[usize]) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not let threads choose their cores"))
}

/// The cores the calling thread may run on; empty where the system does not say.
#[cfg(not(target_os = "linux"))]
pub fn affinity_of_thread() -> Vec<usize> {
    Vec::new()
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn set_priority(_priority: Priority) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not rank threads"))
}
