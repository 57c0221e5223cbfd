//! What the machine was like while something was measured.
//!
//! Virtual machines change: the host takes time away (steal), and moves the processors nearer to each other or
//! further apart, which changes how fast memory is read by both and how long threads wait for each other. Samples
//! from different conditions are not compared.

use std::fmt::{Display, Formatter};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How far apart the processors are, by how long a message and its answer take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placement {
    /// Less than 150 ns: they share a cache.
    A,
    /// More than 180 ns: they do not.
    B,
    /// It changed, or lies between.
    Unclear,
}

impl Placement {
    fn of(round_trip: Option<Duration>) -> Placement {
        match round_trip.map(|time| time.as_nanos()) {
            Some(0..150) => Placement::A,
            Some(181..) => Placement::B,
            _ => Placement::Unclear,
        }
    }

    /// What holds for two samples, if it is the same and clear.
    pub(super) fn both(self, other: Placement) -> Option<Placement> {
        (self == other && self != Placement::Unclear).then_some(self)
    }
}

/// What was seen before, during and after a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) placement: Placement,
    /// A message and its answer, before and after.
    round_trips: [Option<Duration>; 2],
    /// The part of all processor time that the host took.
    pub(super) steal: f64,
    /// The part that other programs took, the system's own threads apart: they write to the disk what samples wrote to
    /// files.
    pub(super) others: f64,
}

impl Conditions {
    /// Whether the machine was left to the sample; `alone` asks that of other programs too, not of the host only.
    pub(super) fn is_quiet(&self, alone: bool) -> bool {
        const MOST_STEAL: f64 = 0.01;
        const MOST_OTHERS: f64 = 0.05;
        self.steal <= MOST_STEAL && (self.others <= MOST_OTHERS || !alone)
    }
}

impl Display for Conditions {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let [before, after] = self
            .round_trips
            .map(|time| time.map_or("no answer".into(), |time| format!("{} ns", time.as_nanos())));
        let [steal, others] = [self.steal, self.others].map(|part| 100.0 * part);
        write!(
            f,
            "{:?} ({before}, {after}), steal {steal:.1} %, others {others:.0} %",
            self.placement
        )
    }
}

/// How long a machine may need to forget a process: a virtual one seems to give the memory that was freed back to its
/// host, and for some seconds that time counts as the host's. Without a pause, who comes after a program that copies a
/// model of 4 GB loses 3 to 8 % of the processors; after half of it, still 1 or 2.
const PAUSE: Duration = Duration::from_secs(12);

/// Does `job`, after a pause, and tells what the machine was like.
pub(super) fn watch<T>(job: impl FnOnce() -> T) -> (T, Conditions) {
    thread::sleep(PAUSE);
    let first_trip = round_trip();
    let before = Ticks::now();
    let result = job();
    let after = Ticks::now();
    let round_trips = [first_trip, round_trip()];
    let [placement, later] = round_trips.map(Placement::of);
    let total = (after.total - before.total).max(1) as f64;
    let known = (after.ours - before.ours) + after.kernel.saturating_sub(before.kernel);
    let conditions = Conditions {
        placement: placement.both(later).unwrap_or(Placement::Unclear),
        round_trips,
        steal: (after.steal - before.steal) as f64 / total,
        others: (after.busy - before.busy).saturating_sub(known) as f64 / total,
    };
    (result, conditions)
}

/// The time of a message between two threads and its answer, the median over 50 ms in which both have a processor;
/// `None` if they have not within half a second.
fn round_trip() -> Option<Duration> {
    const TRIPS: u32 = 64;
    const TIME: Duration = Duration::from_millis(50);
    /// On one processor an answer takes as long as the scheduler lets a thread run.
    const TOGETHER: Duration = Duration::from_micros(20);
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return None;
    }
    let (ball, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut times = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let at = ball.load(Ordering::Acquire);
                if at % 2 == 1 {
                    ball.store(at.wrapping_add(1), Ordering::Release);
                }
            }
        });
        let mut times = Vec::new();
        // The scheduler may take a while to part the two.
        let mut end = Instant::now() + 10 * TIME;
        while Instant::now() < end {
            let batch = Instant::now();
            for _ in 0..TRIPS {
                let sent = ball.load(Ordering::Relaxed).wrapping_add(1);
                ball.store(sent, Ordering::Release);
                while ball.load(Ordering::Acquire) == sent {}
            }
            let time = batch.elapsed() / TRIPS;
            if times.is_empty() && time < TOGETHER {
                end = Instant::now() + TIME;
            }
            if time < TOGETHER || !times.is_empty() {
                times.push(time);
            }
        }
        over.store(true, Ordering::Relaxed);
        times
    });
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Processor time since the machine, and this program, were started.
#[derive(Default)]
struct Ticks {
    total: u64,
    busy: u64,
    steal: u64,
    /// Of this program and those that it ran.
    ours: u64,
    /// Of the kernel's threads that there are now.
    kernel: u64,
}

impl Ticks {
    /// All zero where the system does not tell.
    fn now() -> Ticks {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let kernel =
            processes.filter_map(|process| kernel_thread(&read(&process.path().join("stat"))));
        let ticks = Ticks::parse(&read("/proc/stat".as_ref()), &read("/proc/self/stat".as_ref()));
        Ticks { kernel: kernel.sum(), ..ticks.unwrap_or_default() }
    }

    fn parse(stat: &str, own: &str) -> Option<Ticks> {
        let fields: Vec<u64> =
            stat.lines().next()?.split_whitespace().skip(1).map_while(|n| n.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let [user, nice, system, idle, iowait, irq, softirq, steal] = *fields.first_chunk()?;
        let busy = user + nice + system + irq + softirq;
        // utime, stime, cutime, cstime
        let ours = after_name(own)?.skip(11).take(4).map_while(|n| n.parse::<u64>().ok()).sum();
        Some(Ticks { total: busy + idle + iowait + steal, busy, steal, ours, kernel: 0 })
    }
}

/// The fields of a process's `stat` that follow its name, which is in brackets.
fn after_name(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace())
}

/// The ticks of a process, if it is a thread of the kernel.
fn kernel_thread(stat: &str) -> Option<u64> {
    /// `PF_KTHREAD` of Linux's `sched.h`.
    const IS_KERNEL_THREAD: u64 = 0x0020_0000;
    // state, …, flags, …, utime, stime
    let mut fields = after_name(stat)?.skip(6).map(|n| n.parse::<u64>().ok());
    let flags = fields.next()??;
    let (utime, stime) = (fields.nth(4)??, fields.next()??);
    (flags & IS_KERNEL_THREAD != 0).then_some(utime + stime)
}

/// While it lives, this program and those that it runs come before everything else.
///
/// Linux shares processors among sessions first (autogroups), so that `nice` alone has no effect on programs of other
/// terminals.
pub(super) struct Priority {
    before: Option<String>,
}

impl Priority {
    const FILE: &str = "/proc/self/autogroup";

    /// Raises it, or says why not.
    pub(super) fn raise() -> Priority {
        let before = fs::read_to_string(Priority::FILE).ok();
        // The file holds `/autogroup-123 nice 0`.
        let before = before.and_then(|text| Some(text.trim().rsplit_once(' ')?.1.to_string()));
        if before.is_some()
            && let Err(error) = fs::write(Priority::FILE, "-20")
        {
            eprintln!("note: others may disturb the measurement: {}: {error}", Priority::FILE);
        }
        Priority { before }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // It was only a wish.
            let _ = fs::write(Priority::FILE, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read() {
        let stat = "cpu  10 20 30 400 5 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        let own = "42 (a (program)) S 1 2 3 4 5 6 7 8 9 10 100 200 300 400 20 0\n";
        let ticks = Ticks::parse(stat, own).unwrap();
        assert_eq!((ticks.total, ticks.busy, ticks.steal, ticks.ours), (486, 73, 8, 1000));
        assert!(Ticks::parse("", own).is_none());
    }

    #[test]
    fn the_time_of_kernel_threads_is_told_from_that_of_programs() {
        let thread = "9 (kworker/u8:0-flush) I 2 0 0 0 -1 2129984 0 0 0 0 12 30 0 0 20 0\n";
        let program = "42 (cp) S 1 2 3 4 5 4194560 7 8 9 10 100 200 300 400 20 0\n";
        assert_eq!([thread, program, ""].map(kernel_thread), [Some(42), None, None]);
    }

    #[test]
    fn samples_match_only_in_the_same_placement() {
        let [near, between, far] =
            [100, 160, 400].map(|time| Placement::of(Some(Duration::from_nanos(time))));
        assert_eq!([near, between, far], [Placement::A, Placement::Unclear, Placement::B]);
        assert_eq!(near.both(near), Some(Placement::A));
        assert_eq!(near.both(far), None);
        assert_eq!(between.both(between), None);
        assert_eq!(Placement::of(None), Placement::Unclear);
    }
}
