//! What a thread does while it waits: first it spins, then it also lets others run; meanwhile it asks for memory.

use std::thread;
use std::time::{Duration, Instant};

use crate::level::prefetch::prefetch_address;

/// How long a waiting thread only spins, then also yields its core now and then, and (workers) at last sleeps.
const SPIN: Duration = Duration::from_micros(50);
pub(super) const DOZE: Duration = Duration::from_micros(200);

/// How much memory a waiting thread asks for between two looks at the gate, and in one wait: less than what the
/// second-level cache holds.
const FETCH: usize = 512;
const MOST_AHEAD: usize = 128 << 10;

/// Memory that a waiting thread asks for, a little at a time.
pub(super) struct Fetch {
    at: usize,
    left: usize,
}

impl Fetch {
    /// As much as is worth it from an address on; 0 is nowhere.
    pub(super) fn new(at: usize) -> Fetch {
        Fetch { at, left: if at == 0 { 0 } else { MOST_AHEAD } }
    }

    /// Asks for the next few lines, if there are any.
    pub(super) fn some(&mut self) {
        if self.left > 0 {
            let n_bytes = self.left.min(FETCH);
            prefetch_address(self.at, n_bytes);
            self.at = self.at.wrapping_add(n_bytes);
            self.left -= n_bytes;
        }
    }
}

/// Waiting that starts fast and becomes considerate.
pub(super) struct Patience {
    since: Option<Instant>,
    rounds: u32,
    yields: bool,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience { since: None, rounds: 0, yields: false }
    }

    /// Waits a little; false once it has been long enough to go to sleep, if one can.
    pub(super) fn wait(&mut self) -> bool {
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
