//! How many threads are worth having.
//!
//! Two threads on one core share its arithmetic and only get into each other's way here, so the default is the number
//! of physical cores that this process may use.

use std::collections::HashSet;
use std::fs;
use std::thread;

/// The physical cores available to this process; at least 1.
pub(crate) fn physical_cores() -> usize {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    linux_cores().map_or(threads, |cores| cores.clamp(1, threads))
}

/// The cores of the processors that the scheduler may give us, by what Linux tells of them; `None` elsewhere.
fn linux_cores() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let siblings = |cpu: usize| {
        fs::read_to_string(format!(
            "/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        ))
        .ok()
    };
    let cores: HashSet<String> =
        parse_list(allowed)?.into_iter().map(siblings).collect::<Option<_>>()?;
    Some(cores.len())
}

/// Numbers as Linux lists them: `0-3,8,10-11`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    const MOST: usize = 1 << 16;
    let mut numbers = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        assert_eq!(parse_list("\t0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse_list("5"), Some(vec![5]));
        for bad in ["", "a", "1-", "0-99999999999", "3,,4"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
    }

    #[test]
    fn there_is_at_least_one_core_and_no_more_than_threads() {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=threads).contains(&physical_cores()));
    }
}
