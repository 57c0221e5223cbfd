//! What keeps gristmill slower than it could be here, and what to do about it.

use gristmill::kernels::{Level, level};

use super::Speeds;
use super::machine::Machine;

/// One sentence for each thing that is wrong: what, and how to change it.
pub(super) fn advice(machine: &Machine, speeds: &Speeds, n_threads: usize) -> Vec<String> {
    let mut list = Vec::new();
    let cores = &machine.cores;
    if cfg!(debug_assertions) {
        list.push("this program was built without optimization; build it with --release".into());
    }
    let highest = *Level::available().last().expect("every CPU has the portable level");
    if let Some(wish) = &machine.simd_wish
        && level() < highest
    {
        list.push(format!(
            "GRISTMILL_SIMD={wish} keeps {} unused, which this CPU has; unset it",
            highest.name()
        ));
    } else if highest == Level::Portable && cfg!(target_arch = "x86_64") {
        list.push("this CPU, or the virtual machine, has no AVX2: weights are multiplied several times slower".into());
    }
    if let Some(online) = machine.online.filter(|&online| online > cores.logical) {
        list.push(format!(
            "this process may use {} of {online} processors; see taskset, cpuset or the container's settings",
            cores.logical
        ));
    }
    if let Some(quota) = cores.quota.filter(|&quota| quota < cores.performance as f64) {
        list.push(format!(
            "a quota of {quota:.2} processors is below the {} cores there are; raise the container's limit (docker run --cpus)",
            cores.performance
        ));
    }
    if n_threads > cores.threads() {
        list.push(format!(
            "{n_threads} threads on {} fast cores get into each other's way; use {}",
            cores.performance,
            cores.threads()
        ));
    }
    if machine.huge_pages.as_deref() == Some("never") {
        list.push(
            "huge pages are off; echo madvise > /sys/kernel/mm/transparent_hugepage/enabled".into(),
        );
    }
    if let Some(load) = machine.load.filter(|&load| load > 0.5 * cores.logical as f64) {
        list.push(format!(
            "other programs run too (load {load:.1} on {} processors); all figures here are lower than they could be",
            cores.logical
        ));
    }
    if n_threads > 1 && speeds.read[1] < 1.1 * speeds.read[0] {
        list.push(format!(
            "{n_threads} threads read no faster than one: the memory is busy or shared with other machines"
        ));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill::runtime::Cores;

    fn found(change: impl Fn(&mut Machine), speeds: Speeds, n_threads: usize) -> Vec<String> {
        let cores = Cores { logical: 8, physical: 4, performance: 4, quota: None };
        let mut machine = Machine {
            cpu: "a CPU".into(),
            cores,
            online: Some(8),
            caches: Vec::new(),
            memory: None,
            huge_pages: Some("madvise".into()),
            load: Some(0.1),
            simd_wish: None,
        };
        change(&mut machine);
        let all = advice(&machine, &speeds, n_threads);
        // What is true of the machine that runs the test is not its matter.
        let here = ["without optimization", "no AVX2"];
        all.into_iter().filter(|line| !here.iter().any(|word| line.contains(word))).collect()
    }

    const FAST: Speeds = Speeds { read: [20e9, 60e9], compute: Vec::new() };

    #[test]
    fn a_machine_that_is_all_right_gets_no_advice() {
        assert_eq!(found(|_| (), FAST, 4), Vec::<String>::new());
    }

    #[test]
    fn everything_that_is_wrong_is_told_once() {
        let one = |list: Vec<String>, word: &str| {
            assert!(list.len() == 1 && list[0].contains(word), "{word}: {list:?}");
        };
        one(found(|machine| machine.cores.quota = Some(1.5), FAST, 1), "--cpus");
        one(found(|machine| machine.online = Some(16), FAST, 4), "taskset");
        one(found(|machine| machine.huge_pages = Some("never".into()), FAST, 4), "huge pages");
        one(found(|machine| machine.load = Some(7.0), FAST, 4), "load 7.0");
        one(found(|_| (), FAST, 8), "use 4");
        one(found(|_| (), Speeds { read: [20e9, 20e9], ..FAST }, 4), "no faster than one");
    }
}
