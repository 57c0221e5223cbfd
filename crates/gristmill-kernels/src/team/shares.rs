//! Who does which task: every thread its own share first, then what is left of the others'.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Apart;

/// The tasks of a job, dealt out to a number of threads.
pub(super) struct Shares {
    /// By thread: the next task of its share. Past its end once all have been claimed.
    next: Box<[Apart<AtomicUsize>]>,
}

impl Shares {
    pub(super) fn new(n_threads: usize) -> Shares {
        Shares { next: (0..n_threads).map(|_| Apart(AtomicUsize::new(0))).collect() }
    }

    /// The share of thread `number` in a job of `n_tasks`.
    pub(super) fn range(&self, number: usize, n_tasks: usize) -> Range<usize> {
        let n_threads = self.next.len();
        let start = |number: usize| {
            let (each, more) = (n_tasks / n_threads, n_tasks % n_threads);
            number * each + number.min(more)
        };
        start(number)..start(number + 1)
    }

    /// Begins a job, while nobody claims.
    pub(super) fn deal(&self, n_tasks: usize) {
        for (number, next) in self.next.iter().enumerate() {
            next.0.store(self.range(number, n_tasks).start, Ordering::Relaxed);
        }
    }

    /// A task for thread `number`: the next of its own, or else of somebody else's. `None` if all have been claimed.
    pub(super) fn claim(&self, number: usize, n_tasks: usize) -> Option<usize> {
        let n_threads = self.next.len();
        (number..number + n_threads).find_map(|of| {
            let of = of % n_threads;
            let (next, end) = (&self.next[of].0, self.range(of, n_tasks).end);
            // Looking first spares the others' lines, and keeps the counters from running far past the end.
            if next.load(Ordering::Relaxed) >= end {
                return None;
            }
            let task = next.fetch_add(1, Ordering::Relaxed);
            (task < end).then_some(task)
        })
    }

    /// Leaves out the tasks that nobody has claimed.
    pub(super) fn give_up(&self) {
        for next in &self.next {
            // Far enough from an overflow by those who are just claiming.
            next.0.store(usize::MAX / 2, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_runs_of_neighbours_that_cover_the_job() {
        for n_threads in [1, 2, 3, 8] {
            let shares = Shares::new(n_threads);
            for n_tasks in [0, 1, 2, 7, 8, 1000] {
                let ranges = (0..n_threads).map(|number| shares.range(number, n_tasks));
                assert!(ranges.flatten().eq(0..n_tasks), "{n_tasks} among {n_threads}");
            }
        }
    }

    #[test]
    fn a_thread_helps_the_others_when_it_is_done() {
        let shares = Shares::new(3);
        shares.deal(7);
        let claims = |number| std::iter::from_fn(|| shares.claim(number, 7)).collect::<Vec<_>>();
        assert_eq!(shares.claim(2, 7), Some(5));
        assert_eq!(claims(1), [3, 4, 6, 0, 1, 2]);
        assert!(claims(0).is_empty() && claims(2).is_empty());
    }
}
