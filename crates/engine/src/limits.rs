//! How much memory a plan may ask for.

use std::fs::read_to_string;

/// Bytes of memory the machine, or the control group the process is in, has in all.
pub(crate) fn system_memory() -> usize {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| total_of_meminfo(&text));
    let group = read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.unwrap_or(usize::MAX).min(group.unwrap_or(usize::MAX)).min(isize::MAX as usize)
}

fn total_of_meminfo(text: &str) -> Option<usize> {
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_in_bytes() {
        assert_eq!(total_of_meminfo("MemTotal:   24 kB\nMemFree: 1 kB\n"), Some(24 << 10));
        assert_eq!(total_of_meminfo("nothing"), None);
        assert!(system_memory() > 1 << 20);
    }
}
