//! A persistent team of threads for short jobs: a decode step is hundreds of jobs of a few microseconds each.
//!
//! Waking a sleeping thread costs tens of microseconds, a spinning one answers in less than one. So workers spin for
//! a while after each job and only then sleep. The caller works too, as worker 0.
//!
//! A job is a number of tasks, claimed one by one from a counter. A worker that comes late (because the system runs
//! something else on its core) finds the gate closed and is not waited for: only workers that have entered are. On a
//! crowded machine the team is therefore never slower than its caller alone by more than the task a worker was
//! interrupted in.
#![expect(
    unsafe_code,
    reason = "a job borrowed from the caller's stack is lent to threads that live longer"
)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::level::prefetch::prefetch_address;

/// How long a waiting thread only spins, then also yields its core now and then, and (workers) at last sleeps.
const SPIN: Duration = Duration::from_micros(50);
const DOZE: Duration = Duration::from_micros(200);

/// How much memory a waiting thread asks for between two looks at the gate, and in one wait: less than what the
/// second-level cache holds.
const FETCH: usize = 512;
const MOST_AHEAD: usize = 128 << 10;

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
    next: Apart<AtomicUsize>,
    finished: Apart<AtomicUsize>,
    sleepers: Apart<AtomicUsize>,
    ahead: Apart<Ahead>,
    job: UnsafeCell<Job>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// What the next job reads first: the address, and how many bytes of it each thread begins with.
#[derive(Default)]
struct Ahead {
    start: AtomicUsize,
    piece: AtomicUsize,
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
        let shared = Arc::new(Shared {
            gate: Apart(AtomicU64::new(0)),
            next: Apart(AtomicUsize::new(0)),
            finished: Apart(AtomicUsize::new(0)),
            sleepers: Apart(AtomicUsize::new(0)),
            ahead: Apart(Ahead::default()),
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
        let workers = (1..n_threads.min(MAX_THREADS)).map_while(spawn).collect();
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

    /// Says what the job after the next one reads from memory: thread `i` begins with piece `i` of `bytes`. Threads that
    /// have nothing to do ask for it meanwhile, so that memory is never idle.
    pub(crate) fn look_ahead(&self, bytes: &[u8], piece: usize) {
        let ahead = &self.shared.ahead.0;
        ahead.piece.store(piece.min(bytes.len() / self.n_threads()), Ordering::Relaxed);
        ahead.start.store(bytes.as_ptr().addr(), Ordering::Relaxed);
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
        shared.next.0.store(0, Ordering::Relaxed);
        shared.finished.0.store(0, Ordering::Relaxed);
        let number = (shared.gate.0.load(Ordering::Relaxed) >> NUMBER_SHIFT) + 1;
        // Sequentially consistent with a worker's announcement that it falls asleep: one of the two sees the other.
        shared.gate.0.store(number << NUMBER_SHIFT, Ordering::SeqCst);
        if shared.sleepers.0.load(Ordering::SeqCst) > 0 {
            self.workers.iter().take(n_tasks - 1).for_each(|worker| worker.thread().unpark());
        }

        IN_TASK.set(true);
        shared.claim_tasks(Job { task, n_tasks });
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

    /// Calls `f(i, chunk)` for each run of `chunk_len` elements of `out` (the last may be shorter), in parallel.
    pub fn for_each_chunk_mut<T: Send>(
        &self,
        out: &mut [T],
        chunk_len: usize,
        f: &(dyn Fn(usize, &mut [T]) + Sync),
    ) {
        let row_len = out.len();
        let grid = Grid { values: out, row_len, tile_rows: 1, cut: Cut::every(chunk_len) };
        self.for_each_tile_mut(&mut [grid], &|_, mut tile| {
            f(tile.columns().start / chunk_len, tile.row_mut(0));
        });
    }

    /// Cuts each of `grids` into tiles and calls `f(grid number, tile)` for every tile, in parallel. Several grids
    /// make one job, so that products of the same activations (q, k and v) need one round of waiting.
    pub fn for_each_tile_mut<T: Send>(
        &self,
        grids: &mut [Grid<'_, T>],
        f: &(dyn Fn(usize, Tile<'_, T>) + Sync),
    ) {
        let shared: Vec<SharedGrid<'_, T>> = grids.iter_mut().map(SharedGrid::new).collect();
        let n_tasks = shared.iter().map(|grid| grid.n_tiles).sum();
        self.run(n_tasks, &|mut index| {
            for (number, grid) in shared.iter().enumerate() {
                if index < grid.n_tiles {
                    // SAFETY: `run` gives each index once, so each tile is handed out once.
                    let tile = unsafe { grid.tile(index) };
                    return f(number, tile);
                }
                index -= grid.n_tiles;
            }
        });
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
                self.claim_tasks(job);
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
        let Ahead { start, piece } = &self.ahead.0;
        let (start, piece) = (start.load(Ordering::Relaxed), piece.load(Ordering::Relaxed));
        let at = start.wrapping_add(number.wrapping_mul(piece));
        Fetch { at, left: piece.min(MOST_AHEAD) }
    }

    /// Claims and does tasks until none is left. Panics are kept for the caller of `run`.
    fn claim_tasks(&self, job: Job) {
        let work = AssertUnwindSafe(|| {
            loop {
                let index = self.next.0.fetch_add(1, Ordering::Relaxed);
                if index >= job.n_tasks {
                    break;
                }
                (job.task)(index);
            }
        });
        if let Err(panic) = catch_unwind(work) {
            self.next.0.store(job.n_tasks, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

/// Memory that a waiting thread asks for, a little at a time.
struct Fetch {
    at: usize,
    left: usize,
}

impl Fetch {
    /// Asks for the next few lines, if there are any.
    fn some(&mut self) {
        if self.left > 0 {
            let n_bytes = self.left.min(FETCH);
            prefetch_address(self.at, n_bytes);
            self.at = self.at.wrapping_add(n_bytes);
            self.left -= n_bytes;
        }
    }
}

/// Waiting that starts fast and becomes considerate.
struct Patience {
    since: Option<Instant>,
    rounds: u32,
    yields: bool,
}

impl Patience {
    fn new() -> Patience {
        Patience { since: None, rounds: 0, yields: false }
    }

    /// Waits a little; false once it has been long enough to go to sleep, if one can.
    fn wait(&mut self) -> bool {
        std::hint::spin_loop();
        self.rounds = self.rounds.wrapping_add(1);
        if !self.rounds.is_multiple_of(64) {
            return true;
        }
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        self.yields |= waited > SPIN;
        if self.yields {
            thread::yield_now();
        }
        waited < DOZE
    }
}

/// Where a matrix is cut between columns: first some wide tiles, then narrow ones.
///
/// A few wide tiles are claimed fast and read long stretches of memory; the narrow ones at the end let all threads
/// finish together.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// How many wide tiles there are at most.
    pub n_wide: usize,
    /// Their columns.
    pub wide: usize,
    /// The columns of the other tiles, at least 1.
    pub narrow: usize,
}

impl Cut {
    /// Tiles of the same width.
    pub fn every(columns: usize) -> Cut {
        Cut { n_wide: 0, wide: 0, narrow: columns }
    }

    /// How many tiles a row of `row_len` columns makes.
    fn n_tiles(self, row_len: usize) -> usize {
        match row_len.checked_sub(self.n_wide * self.wide) {
            Some(rest) => self.n_wide + rest.div_ceil(self.narrow),
            None => row_len.div_ceil(self.wide),
        }
    }

    /// Where tile `i` starts.
    fn start(self, i: usize) -> usize {
        i.min(self.n_wide) * self.wide + i.saturating_sub(self.n_wide) * self.narrow
    }
}

/// A row-major matrix that [`Team::for_each_tile_mut`] cuts into tiles; those at the lower and right edges may be
/// smaller than the others.
pub struct Grid<'a, T> {
    /// The elements, a whole number of rows.
    pub values: &'a mut [T],
    /// Elements per row.
    pub row_len: usize,
    /// Rows per tile, at least 1.
    pub tile_rows: usize,
    /// How the columns are cut.
    pub cut: Cut,
}

/// A grid that several threads take tiles from.
struct SharedGrid<'a, T> {
    start: *mut T,
    n_rows: usize,
    row_len: usize,
    tile_rows: usize,
    cut: Cut,
    tiles_per_row: usize,
    n_tiles: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: threads only take disjoint tiles from it, which are `&mut [T]` in effect and need `T: Send`.
unsafe impl<T: Send> Sync for SharedGrid<'_, T> {}

impl<'a, T> SharedGrid<'a, T> {
    fn new(grid: &'a mut Grid<'_, T>) -> SharedGrid<'a, T> {
        let Grid { values, row_len, tile_rows, cut } = grid;
        assert!(*tile_rows > 0 && cut.narrow > 0, "tiles have a size");
        assert!(cut.n_wide == 0 || cut.wide > 0, "tiles have a size");
        let n_rows = if values.is_empty() { 0 } else { values.len() / *row_len };
        assert_eq!(values.len(), n_rows * *row_len, "a whole number of rows");
        let tiles_per_row = cut.n_tiles(*row_len);
        SharedGrid {
            start: values.as_mut_ptr(),
            n_rows,
            row_len: *row_len,
            tile_rows: *tile_rows,
            cut: *cut,
            tiles_per_row,
            n_tiles: n_rows.div_ceil(*tile_rows) * tiles_per_row,
            borrow: PhantomData,
        }
    }

    /// Tile number `index`, counted along the rows.
    ///
    /// # Safety
    /// Each index is asked for at most once.
    unsafe fn tile(&self, index: usize) -> Tile<'a, T> {
        assert!(index < self.n_tiles, "inside the grid");
        let row = index / self.tiles_per_row * self.tile_rows;
        let [column, next] = [0, 1].map(|ahead| self.cut.start(index % self.tiles_per_row + ahead));
        Tile {
            start: self.start,
            row_len: self.row_len,
            rows: row..self.n_rows.min(row + self.tile_rows),
            columns: column..self.row_len.min(next),
            borrow: PhantomData,
        }
    }
}

/// A part of a [`Grid`] that one task may write: some rows, and of each the same range of columns.
pub struct Tile<'a, T> {
    start: *mut T,
    row_len: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Tile<'_, T> {
    /// The rows of the grid that are in this tile.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The columns of the grid that are in this tile.
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// This tile's columns of row `row`, counted in the grid.
    ///
    /// # Panics
    /// When the row is not in the tile.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(self.rows.contains(&row), "a row of this tile");
        // SAFETY: rows and columns of a tile lie inside the grid's slice.
        let start = unsafe { self.start.add(row * self.row_len + self.columns.start) };
        // SAFETY: no other tile covers these elements, and `self` is borrowed while the slice lives.
        unsafe { std::slice::from_raw_parts_mut(start, self.columns.len()) }
    }

    /// A smaller tile inside this one, borrowed from it.
    ///
    /// # Panics
    /// When the ranges, counted in the grid, reach outside this tile.
    pub fn part(&mut self, rows: Range<usize>, columns: Range<usize>) -> Tile<'_, T> {
        let inside = |part: &Range<usize>, whole: &Range<usize>| {
            whole.start <= part.start && part.start <= part.end && part.end <= whole.end
        };
        assert!(
            inside(&rows, &self.rows) && inside(&columns, &self.columns),
            "a part of this tile"
        );
        Tile { start: self.start, row_len: self.row_len, rows, columns, borrow: PhantomData }
    }

    /// Where each row of the tile starts: its `n`-th row is at `pointer + n * stride`, and `columns().len()` elements
    /// there may be written while the tile is borrowed.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only kernels with raw stores need it")
    )]
    pub(crate) fn raw(&mut self) -> (*mut T, usize) {
        (self.start.wrapping_add(self.rows.start * self.row_len + self.columns.start), self.row_len)
    }
}

#[cfg(test)]
mod tests;
