//! How many threads are worth having.
//!
//! Two threads on one core share its arithmetic and only get into each other's way here; the slow cores of a CPU of
//! two kinds keep the fast ones waiting; and whoever computes beyond the quota of a container is stopped altogether.
//! So the default is the number of fast physical cores that this process may use, within its quota.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// What the system lets this process compute with.
#[derive(Clone, Debug, PartialEq)]
pub struct Cores {
    /// Processors that the scheduler may give us: two per core where a core runs two threads.
    pub logical: usize,
    /// The physical cores that they belong to.
    pub physical: usize,
    /// The fast ones of these, on CPUs of two kinds; elsewhere all.
    pub performance: usize,
    /// How many processors' time the control group of the process may use, if that is limited.
    pub quota: Option<f64>,
}

impl Cores {
    /// Asks the system. Where it does not tell (outside Linux), every processor counts as a core.
    pub fn detect() -> Cores {
        let logical = thread::available_parallelism().map_or(1, usize::from);
        let unknown = Cores { logical, physical: logical, performance: logical, quota: None };
        linux_cores(Path::new("/")).unwrap_or(unknown)
    }

    /// The threads to use unless somebody knows better; at least 1.
    pub fn threads(&self) -> usize {
        let quota = self.quota.map_or(usize::MAX, |quota| quota as usize);
        self.performance.min(quota).max(1)
    }
}

/// The default number of threads.
pub(crate) fn physical_cores() -> usize {
    Cores::detect().threads()
}

/// By what Linux tells below `root`; `None` where it tells nothing.
fn linux_cores(root: &Path) -> Option<Cores> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let allowed = parse_list(allowed)?;
    let physical = count_cores(root, &allowed);
    let performance = count_cores(root, &fast(root, &allowed));
    Some(Cores { logical: allowed.len(), physical, performance, quota: quota(root) })
}

/// How many cores these processors belong to: siblings name each other.
fn count_cores(root: &Path, cpus: &[usize]) -> usize {
    let siblings = |&cpu: &usize| {
        fs::read_to_string(cpu_file(root, cpu, "topology/thread_siblings_list")).ok()
    };
    let cores: Option<HashSet<String>> = cpus.iter().map(siblings).collect();
    cores.map_or(cpus.len(), |cores| cores.len())
}

fn cpu_file(root: &Path, cpu: usize, name: &str) -> PathBuf {
    root.join(format!("sys/devices/system/cpu/cpu{cpu}/{name}"))
}

/// The fast ones of these processors: those that Intel's hybrids list as such; else those of at least half the
/// capacity of the largest (Arm), or of three quarters of its clock, since the clock tells only part of the difference.
fn fast(root: &Path, cpus: &[usize]) -> Vec<usize> {
    if let Some(listed) = fs::read_to_string(root.join("sys/devices/cpu_core/cpus")).ok()
        && let Some(listed) = parse_list(&listed)
    {
        let fast: Vec<usize> = cpus.iter().copied().filter(|cpu| listed.contains(cpu)).collect();
        // The process may be bound to slow cores only.
        return if fast.is_empty() { cpus.to_vec() } else { fast };
    }
    for (name, share) in [("cpu_capacity", 0.5), ("cpufreq/cpuinfo_max_freq", 0.75)] {
        let value = |&cpu: &usize| number(&cpu_file(root, cpu, name));
        if let Some(values) = cpus.iter().map(value).collect::<Option<Vec<f64>>>() {
            let largest = values.iter().copied().fold(0.0, f64::max);
            let pairs = cpus.iter().zip(values);
            return pairs.filter(|(_, v)| *v >= share * largest).map(|(&cpu, _)| cpu).collect();
        }
    }
    cpus.to_vec()
}

/// The smallest quota of the control groups above this process, of either version, in processors.
fn quota(root: &Path) -> Option<f64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut smallest: Option<f64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let read: fn(&Path) -> Option<f64> = match controllers {
            "" => quota_v2,
            list if list.split(',').any(|name| name == "cpu") => quota_v1,
            _ => continue,
        };
        let mount =
            root.join("sys/fs/cgroup").join(if controllers.is_empty() { "" } else { "cpu" });
        // In a container the path may be the host's, of which only the end, or nothing, is visible.
        let path = Path::new(path.trim_start_matches('/'));
        let found = path.ancestors().filter_map(|group| read(&mount.join(group)));
        smallest = found.chain(smallest).reduce(f64::min);
    }
    smallest
}

/// `cpu.max`: microseconds of time in each period of microseconds, or `max`.
fn quota_v2(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (time, period) = text.trim().split_once(' ')?;
    share(time.parse().ok()?, period.parse().ok()?)
}

/// The same in two files; no limit is -1.
fn quota_v1(group: &Path) -> Option<f64> {
    share(number(&group.join("cpu.cfs_quota_us"))?, number(&group.join("cpu.cfs_period_us"))?)
}

fn share(time: f64, period: f64) -> Option<f64> {
    (time > 0.0 && period > 0.0).then_some(time / period)
}

fn number(file: &Path) -> Option<f64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
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
mod tests;
