//! A persistent team of threads for short jobs: a decode step is hundreds of jobs of a few microseconds each.
//!
//! Waking a sleeping thread costs tens of microseconds, a spinning one answers in less than one. So workers spin for
//! a while after each job and only then sleep. The caller works too, as worker 0.
//!
//! A job is a number of tasks. Each thread has a share of neighbours, since memory is read fastest from front to back,
//! and claims them one by one; when it is done it helps the others with theirs. A worker that comes late (because the system runs
//! something else on its core) finds the gate closed and is not waited for: only workers that have entered are. On a
//! crowded machine the team is therefore never slower than its caller alone by more than the task a worker was
//! interrupted in.
#![expect(
    unsafe_code,
    reason = "a job borrowed from the caller's stack is lent to threads that live longer"
)]

mod shares;
mod tiles;
mod wait;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use shares::Shares;
pub use tiles::{Grid, JOINED, Tile};
use wait::{Fetch, Patience};

/// More threads than any machine has; keeps the count of entered workers inside the gate's low bits.
const MAX_THREADS: usize = 1024;

/// The gate's low bits count the workers inside, the rest is the job's number, odd while the job is open.
const NUMBER_SHIFT: u32 = 16;
const STOP: u64 = u64::MAX;

thread_local! {
    /// Whether this thread is inside a task; jobs started there run inline.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
}

/// Persistent worker threads. Cheap to share by reference; a job started while another thread's job is running, or
/// from inside a task, runs on its caller alone.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    busy: AtomicBool,
}

/// Two cache lines (the prefetcher's unit), so that spinning on one value does not slow writes to another.
#[repr(align(128))]
struct Apart<T>(T);

struct Shared {
    gate: Apart<AtomicU64>,
    shares: Shares,
    finished: Apart<AtomicUsize>,
    sleepers: Apart<AtomicUsize>,
    /// Where each thread begins to read in the job after the next one.
    ahead: Box<[Apart<AtomicUsize>]>,
    job: UnsafeCell<Job>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

#[derive(Clone, Copy)]
struct Job {
    task: &'static (dyn Fn(usize) + Sync),
    n_tasks: usize,
}

// SAFETY: `job` is written only by the thread that holds `Team::busy` while the gate is closed and nobody is inside,
// and read only by workers inside an open gate; the gate's release store and acquire exchange order the two.
unsafe impl Sync for Shared {}

impl Team {
    /// A team of `n_threads` (at least 1) including the caller of [`run`](Self::run).
    ///
    /// Threads the system refuses to start are done without.
    pub fn new(n_threads: usize) -> Team {
        let n_threads = n_threads.clamp(1, MAX_THREADS);
        let shared = Arc::new(Shared {
            gate: Apart(AtomicU64::new(0)),
            shares: Shares::new(n_threads),
            finished: Apart(AtomicUsize::new(0)),
            sleepers: Apart(AtomicUsize::new(0)),
            ahead: (0..n_threads).map(|_| Apart(AtomicUsize::new(0))).collect(),
            job: UnsafeCell::new(Job { task: &|_| (), n_tasks: 0 }),
            panic: Mutex::new(None),
        });
        let spawn = |number: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("gristmill-{number}"))
                .spawn(move || shared.serve(number))
                .ok()
        };
        let workers = (1..n_threads).map_while(spawn).collect();
        Team { shared, workers, busy: AtomicBool::new(false) }
    }

    /// The team of the caller and nobody else.
    pub(crate) fn alone() -> &'static Team {
        static ALONE: LazyLock<Team> = LazyLock::new(|| Team::new(1));
        &ALONE
    }

    /// How many threads work on a job, the caller included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Says where thread `number` begins to read in the job after the next one. Threads that have nothing to do ask for
    /// it meanwhile, so that memory is never idle.
    pub(crate) fn look_ahead(&self, number: usize, bytes: &[u8]) {
        self.shared.ahead[number].0.store(bytes.as_ptr().addr(), Ordering::Relaxed);
    }

    /// The first of the share of thread `number` in a job of `n_tasks`.
    pub(crate) fn first_task(&self, number: usize, n_tasks: usize) -> usize {
        self.shared.shares.range(number, n_tasks).start
    }

    /// Calls `task` once with each of `0..n_tasks`, on all threads, and returns when all calls have.
    ///
    /// # Panics
    /// With the first panic of a task; tasks not yet begun are then left out.
    pub fn run(&self, n_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let alone = n_tasks < 2 || self.workers.is_empty() || IN_TASK.get();
        if alone || self.busy.swap(true, Ordering::Acquire) {
            (0..n_tasks).for_each(task);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: the reference is used only by threads inside the gate, and this function neither returns nor
        // unwinds before the gate is closed and all of them have left.
        let task = unsafe {
            std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task)
        };
        // SAFETY: `busy` is ours, the gate is closed and nobody is inside, so nobody else touches the job.
        unsafe { *shared.job.get() = Job { task, n_tasks } };
        shared.shares.deal(n_tasks);
        shared.finished.0.store(0, Ordering::Relaxed);
        let number = (shared.gate.0.load(Ordering::Relaxed) >> NUMBER_SHIFT) + 1;
        // Sequentially consistent with a worker's announcement that it falls asleep: one of the two sees the other.
        shared.gate.0.store(number << NUMBER_SHIFT, Ordering::SeqCst);
        if shared.sleepers.0.load(Ordering::SeqCst) > 0 {
            self.workers.iter().take(n_tasks - 1).for_each(|worker| worker.thread().unpark());
        }

        IN_TASK.set(true);
        shared.do_tasks(0, Job { task, n_tasks });
        IN_TASK.set(false);

        let gate = shared.gate.0.swap((number + 1) << NUMBER_SHIFT, Ordering::AcqRel);
        let entered = (gate & ((1 << NUMBER_SHIFT) - 1)) as usize;
        let (mut patience, mut fetch) = (Patience::new(), shared.fetch(0));
        while shared.finished.0.load(Ordering::Acquire) != entered {
            fetch.some();
            patience.wait();
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.gate.0.store(STOP, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // Workers catch the panics of tasks and have none of their own.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// A worker's life: wait for the gate to open, enter, help, leave.
    fn serve(&self, number: usize) {
        IN_TASK.set(true);
        let mut last = 0;
        loop {
            let gate = self.wait_for_a_job_after(last, number);
            if gate == STOP {
                return;
            }
            // The exchange fails when the job was closed, or another worker entered, in the meantime.
            if self
                .gate
                .0
                .compare_exchange(gate, gate + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                last = gate >> NUMBER_SHIFT;
                // SAFETY: inside an open gate the job is not written: its owner waits until we have finished.
                let job = unsafe { *self.job.get() };
                self.do_tasks(number, job);
                self.finished.0.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// The gate's value once it is open for a job other than number `last`, or `STOP`.
    fn wait_for_a_job_after(&self, last: u64, number: usize) -> u64 {
        let open = |gate: u64| {
            gate == STOP || ((gate >> NUMBER_SHIFT) % 2 == 1 && gate >> NUMBER_SHIFT != last)
        };
        let (mut patience, mut fetch) = (Patience::new(), self.fetch(number));
        loop {
            let gate = self.gate.0.load(Ordering::Acquire);
            if open(gate) {
                return gate;
            }
            fetch.some();
            if patience.wait() {
                continue;
            }
            self.sleepers.0.fetch_add(1, Ordering::SeqCst);
            // A wake-up between this look and the sleep is not lost: `unpark` leaves a token.
            if !open(self.gate.0.load(Ordering::SeqCst)) {
                thread::park();
            }
            self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
            patience = Patience::new();
        }
    }

    /// What thread `number` can ask for while it waits.
    fn fetch(&self, number: usize) -> Fetch {
        Fetch::new(self.ahead[number].0.load(Ordering::Relaxed))
    }

    /// Claims and does tasks until none is left, as thread `number`. Panics are kept for the caller of `run`.
    fn do_tasks(&self, number: usize, job: Job) {
        let work = AssertUnwindSafe(|| {
            while let Some(index) = self.shares.claim(number, job.n_tasks) {
                (job.task)(index);
            }
        });
        if let Err(panic) = catch_unwind(work) {
            self.shares.give_up();
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

#[cfg(test)]
mod tests;
