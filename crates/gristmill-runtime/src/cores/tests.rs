use super::*;
use tempfile::TempDir;

#[test]
fn lists_are_read() {
    assert_eq!(parse_list("\t0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
    assert_eq!(parse_list("5"), Some(vec![5]));
    for bad in ["", "a", "1-", "0-99999999999", "3,,4"] {
        assert_eq!(parse_list(bad), None, "{bad}");
    }
}

#[test]
fn there_is_at_least_one_core_here() {
    let cores = Cores::detect();
    assert!(1 <= cores.performance && cores.performance <= cores.physical, "{cores:?}");
    assert!(cores.physical <= cores.logical, "{cores:?}");
    assert!((1..=cores.logical).contains(&physical_cores()));
}

/// A tree such as Linux shows, with some processors allowed.
fn tree(allowed: &str, files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let status = format!("Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n");
    for (path, text) in [("proc/self/status", status.as_str())].iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

/// Files of one processor each, `(number, text)`.
fn per_cpu(name: &str, values: &[&'static str]) -> Vec<(String, &'static str)> {
    let path = |cpu| format!("sys/devices/system/cpu/cpu{cpu}/{name}");
    values.iter().enumerate().map(|(cpu, value)| (path(cpu), *value)).collect()
}

fn borrowed<'a>(files: &'a [(String, &'static str)]) -> Vec<(&'a str, &'static str)> {
    files.iter().map(|(path, text)| (path.as_str(), *text)).collect()
}

const SIBLINGS: &str = "topology/thread_siblings_list";

#[test]
fn two_threads_of_a_core_count_once_and_only_where_they_are_allowed() {
    let files = per_cpu(SIBLINGS, &["0-1\n", "0-1\n", "2-3\n", "2-3\n"]);
    let cores = |allowed| linux_cores(tree(allowed, &borrowed(&files)).path()).unwrap();
    let all = cores("0-3");
    assert_eq!((all.logical, all.physical, all.performance, all.quota), (4, 2, 2, None));
    assert_eq!(cores("0-1").physical, 1);
    assert_eq!(cores("1,2").physical, 2);
}

#[test]
fn only_the_fast_cores_of_a_hybrid_count() {
    let mut files = per_cpu(SIBLINGS, &["0-1\n", "0-1\n", "2-3\n", "2-3\n", "4\n", "5\n"]);
    files.push(("sys/devices/cpu_core/cpus".into(), "0-3\n"));
    let cores = |allowed| linux_cores(tree(allowed, &borrowed(&files)).path()).unwrap();
    let all = cores("0-5");
    assert_eq!((all.logical, all.physical, all.performance), (6, 4, 2));
    assert_eq!(cores("4-5").performance, 2, "bound to slow cores: those are all there are");
}

#[test]
fn capacity_tells_the_fast_cores_else_the_clock_does() {
    let capacity = per_cpu("cpu_capacity", &["250", "250", "760", "1024"]);
    let root = tree("0-3", &borrowed(&capacity));
    assert_eq!(linux_cores(root.path()).unwrap().performance, 2);
    let clock = per_cpu("cpufreq/cpuinfo_max_freq", &["5100000", "5000000", "3300000", "3300000"]);
    let root = tree("0-3", &borrowed(&clock));
    assert_eq!(linux_cores(root.path()).unwrap().performance, 2);
}

#[test]
fn a_quota_of_either_version_limits_the_threads() {
    let with = |files: &[(&str, &str)]| linux_cores(tree("0-7", files).path()).unwrap();
    let v2 = with(&[
        ("proc/self/cgroup", "0::/a/b\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/a/cpu.max", "250000 100000\n"),
    ]);
    assert_eq!((v2.quota, v2.threads()), (Some(2.5), 2));
    let v1 = with(&[
        ("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/host/path\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!((v1.quota, v1.threads()), (Some(0.5), 1));
    let unlimited = with(&[
        ("proc/self/cgroup", "3:cpu:/\n0::/\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu.max", "max 100000\n"),
    ]);
    assert_eq!((unlimited.quota, unlimited.threads()), (None, 8));
}

#[test]
fn a_tree_that_tells_nothing_is_no_answer() {
    assert_eq!(linux_cores(tempfile::tempdir().unwrap().path()), None);
}
