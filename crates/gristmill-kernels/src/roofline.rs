//! What this machine could do at most, measured: bytes read per second and operations per second.
//!
//! No model runs faster than these (the roofline model; Williams et al., 2009): decoding reads every weight once per
//! token, prefill multiplies every weight with every token. A speed means little without the limit of the same minute
//! beside it, since virtual machines change theirs.
//!
//! All figures are the best of many short rounds, since some rounds then fall between the interruptions of other
//! programs.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use gristmill_quant::codec;
use gristmill_tensor::{DType, zeros_in_large_pages};
use memmap2::MmapMut;

use crate::Team;
#[cfg(target_arch = "aarch64")]
use crate::level::neon;
use crate::level::vector::{Kernel, LANES, Vector, dispatch};
use crate::level::{Level, level, portable};
#[cfg(target_arch = "x86_64")]
use crate::level::{avx2, avx512};
use crate::matmul::kernels::{Form, kernels_at};

/// Bytes that one task reads: a huge page.
const PIECE: usize = 2 << 20;

/// How long a figure is measured, at least.
const TIME: Duration = Duration::from_millis(60);
/// How often, at least.
const ROUNDS: usize = 9;

/// How many times one task repeats its instructions: about a third of a millisecond.
const REPEATS: usize = 200_000;
const TASKS_PER_THREAD: usize = 4;

/// Running sums of a loop over one instruction: more than its latency times its throughput on any CPU so far.
pub(crate) const CHAINS: usize = 12;

/// Memory to be read, several times larger than the caches should be.
///
/// Keep it from one measurement to the next, and while something else is timed: a virtual machine may give memory that
/// has been freed back to its host some seconds later, which takes time from whatever runs then.
pub struct Memory(MmapMut);

impl Memory {
    /// At least `n_bytes`, in huge pages where the system has them.
    ///
    /// # Errors
    /// When there is not so much memory.
    pub fn new(team: &Team, n_bytes: usize) -> io::Result<Memory> {
        let n_pieces = n_bytes.div_ceil(PIECE).max(team.n_threads());
        let mut memory = zeros_in_large_pages(n_pieces * PIECE)?;
        team.for_each_chunk_mut(&mut memory, PIECE, &|_, piece| piece.fill(1));
        Ok(Memory(memory))
    }

    /// Bytes that the team reads of it per second, in order.
    pub fn read_bandwidth(&self, team: &Team) -> f64 {
        let read = match level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::peak::read,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => avx2::peak::read,
            _ => portable::peak::read,
        };
        let task = |i: usize| _ = black_box(read(&self.0[i * PIECE..][..PIECE]));
        best(self.0.len() as f64, || team.run(self.0.len() / PIECE, &task))
    }
}

/// The numbers that weights and activations are multiplied as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arithmetic {
    /// Single precision.
    F32,
    /// Floats of sixteen bits with eight for the exponent.
    Bf16,
    /// Integers of up to 16 bits.
    Int16,
    /// Integers of up to 8 bits.
    Int8,
}

impl Arithmetic {
    /// How weights of `dtype` are multiplied at the level in use, with one token or with several; `None` for types
    /// that cannot be multiplied.
    pub fn of(dtype: DType, n_tokens: usize) -> Option<Arithmetic> {
        codec(dtype)?;
        Some(match kernels_at(level(), dtype).way(n_tokens, false).form {
            // Both sides are widened.
            Form::F32 | Form::F16 => Arithmetic::F32,
            Form::Int16 => Arithmetic::Int16,
            Form::Bf16 => Arithmetic::Bf16,
            Form::Int8 => Arithmetic::Int8,
        })
    }

    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::F32 => "f32",
            Arithmetic::Bf16 => "bf16",
            Arithmetic::Int16 => "int16",
            Arithmetic::Int8 => "int8",
        }
    }

    /// Multiplications and additions that the team does per second with the instructions of the level in use.
    pub fn peak(self, team: &Team) -> f64 {
        #[cfg(target_arch = "x86_64")]
        if self == Arithmetic::Bf16 && avx512::bf16::is_available() {
            return arithmetic_peak(team, 2 * 32, &avx512::peak::bf16);
        }
        // Where there is nothing narrower, floats are widened.
        if matches!(self, Arithmetic::F32 | Arithmetic::Bf16) {
            let run = |repeats| dispatch(MulAdds { repeats });
            return arithmetic_peak(team, 2 * LANES, &run);
        }
        let is_int8 = self == Arithmetic::Int8;
        let (run, n_products): (fn(usize), usize) = match (level(), is_int8) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, true) => (avx512::peak::int8, 64),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, false) => (avx512::peak::int16, 32),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, true) => (avx2::peak::int8, 32),
            #[cfg(target_arch = "x86_64")]
            (Level::AvxVnni, true) => (avx2::peak::int8_vnni, 32),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2 | Level::AvxVnni, false) => (avx2::peak::int16, 16),
            #[cfg(target_arch = "aarch64")]
            (level @ (Level::Neon | Level::NeonDotprod | Level::NeonI8mm), true) => {
                neon::peak::int8(level)
            }
            // Bytes are widened there.
            _ => (portable::peak::int16, 16),
        };
        arithmetic_peak(team, 2 * n_products, &run)
    }
}

/// Operations per second of `run`, which does `CHAINS` instructions of so many operations each time.
fn arithmetic_peak(team: &Team, operations: usize, run: &(dyn Fn(usize) + Sync)) -> f64 {
    let n_tasks = TASKS_PER_THREAD * team.n_threads();
    let amount = (n_tasks * REPEATS * CHAINS * operations) as f64;
    best(amount, || team.run(n_tasks, &|_| run(REPEATS)))
}

/// The best rate at which `job` does its `amount`, per second.
fn best(amount: f64, mut job: impl FnMut()) -> f64 {
    job();
    let started = Instant::now();
    let mut shortest = Duration::MAX;
    let mut rounds = 0;
    while rounds < ROUNDS || started.elapsed() < TIME {
        let round = Instant::now();
        job();
        shortest = shortest.min(round.elapsed());
        rounds += 1;
    }
    amount / shortest.as_secs_f64()
}

/// Chains of multiplications and additions in registers.
struct MulAdds {
    repeats: usize,
}

impl Kernel for MulAdds {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        // The sums tend to 2: neither infinite nor so small that the CPU would need longer.
        let (half, one) = black_box((V::splat(0.5), V::splat(1.0)));
        let mut sums = [one; CHAINS];
        for _ in 0..self.repeats {
            sums = sums.map(|sum| sum.mul_add(half, one));
        }
        black_box(sums.map(V::sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_every_byte() {
        let mut bytes = vec![0u8; 1 << 13];
        let mut check = |read: fn(&[u8]) -> u64| {
            assert_eq!(read(&bytes), 0);
            for at in [0, 511, 4096, 8191] {
                bytes[at] = 1;
                assert_ne!(read(&bytes), 0, "{at}");
                bytes[at] = 0;
            }
        };
        check(portable::peak::read);
        #[cfg(target_arch = "x86_64")]
        {
            if Level::Avx2.is_available() {
                check(avx2::peak::read);
            }
            if Level::Avx512.is_available() {
                check(avx512::peak::read);
            }
        }
    }

    #[test]
    fn figures_are_those_of_a_computer() {
        let team = Team::new(2);
        let bandwidth = Memory::new(&team, 8 << 20).unwrap().read_bandwidth(&team);
        assert!((1e7..1e14).contains(&bandwidth), "{bandwidth}");
        for arithmetic in [Arithmetic::F32, Arithmetic::Int16, Arithmetic::Int8] {
            let peak = arithmetic.peak(&team);
            assert!((1e7..1e16).contains(&peak), "{}: {peak}", arithmetic.name());
        }
    }

    #[test]
    fn the_arithmetic_of_a_type_is_known() {
        assert_eq!(Arithmetic::of(DType::Q4_0, 1), Some(Arithmetic::Int8));
        assert_eq!(Arithmetic::of(DType::Q4_0, 512), Some(Arithmetic::Int8));
        assert_eq!(Arithmetic::of(DType::F32, 1), Some(Arithmetic::F32));
        assert_eq!(Arithmetic::of(DType::IQ1_S, 1), None);
    }
}
