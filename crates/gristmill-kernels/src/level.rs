//! Which instructions this CPU has, found out once, and how to use fewer of them.
//!
//! A level is a set of instructions that a family of kernels needs; each family lives in the folder of its name
//! below `level/` and opens with how it maps to the hardware. All levels compute the same integers and differ in the
//! rounding of float sums only.

use std::sync::OnceLock;

/// A set of SIMD instructions, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// What every CPU of the target has; through the `wide` crate.
    Portable,
}

impl Level {
    /// The levels this CPU can run, the least first. Only these are ever used.
    pub fn available() -> &'static [Level] {
        &[Level::Portable]
    }

    /// The lower-case name, as `GRISTMILL_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
        }
    }
}

/// The level in use: the highest that this CPU has, unless the environment variable `GRISTMILL_SIMD` names a lower
/// one (`portable`, `avx2`, `avx512`). It cannot raise the level: a higher one than the CPU has is as if it were not
/// set. Any other word means `portable`, so that a misspelling can only make things slower, and shows.
///
/// The variable is read once, at the first call.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| Level::Portable)
}
