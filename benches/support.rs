//! What the benches share: seeded inputs, and running at every SIMD level.
#![forbid(unsafe_code)]

use std::process::Command;

use gristmill::kernels::{Level, level};

/// `n` values between -1 and 1, the same for the same seed (xorshift64*, Vigna, 2014).
pub fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let high = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        high as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Runs `benches` at every level of this CPU, each in a process of its own, since a process has one level; at one
/// only if `GRISTMILL_SIMD` names it.
///
/// # Panics
/// When one of the processes fails.
pub fn at_every_level(benches: fn()) {
    const VARIABLE: &str = "GRISTMILL_SIMD";
    if std::env::var_os(VARIABLE).is_some() {
        return benches();
    }
    let program = std::env::current_exe().expect("a program knows where it is");
    for level in Level::available() {
        let mut child = Command::new(&program);
        child.args(std::env::args_os().skip(1)).env(VARIABLE, level.name());
        assert!(child.status().expect("it can be run").success(), "at {}", level.name());
    }
}

/// The level in use, as part of a benchmark's name.
pub fn level_name() -> &'static str {
    level().name()
}
