//! Which instructions this CPU has, found out once, and how to use fewer of them.
//!
//! A level is a set of instructions that a family of kernels needs; each family lives in the folder of its name
//! below `level/` and opens with how it maps to the hardware. All levels compute the same integers and differ in the
//! rounding of float sums only.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;
pub(crate) mod prefetch;
pub(crate) mod vector;

use std::sync::OnceLock;

/// A set of SIMD instructions, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// What every CPU of the target has.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: most since 2013.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, DQ, VNNI and VBMI: Ice Lake and Zen 4 and their successors.
    Avx512,
}

/// A level as a type, for kernels that differ in more than their instructions.
pub(crate) trait AtLevel: 'static {
    const LEVEL: Level;
}

/// The types that stand for the levels.
pub(crate) mod tag {
    use super::{AtLevel, Level};

    macro_rules! tags {
        ($($level:ident)*) => { $(
            pub(crate) struct $level;

            impl AtLevel for $level {
                const LEVEL: Level = Level::$level;
            }
        )* };
    }

    tags! { Portable Avx2 Avx512 }
}

impl Level {
    const ALL: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

    /// The levels this CPU can run, the least first. Only these are ever used.
    pub fn available() -> &'static [Level] {
        static COUNT: OnceLock<usize> = OnceLock::new();
        let count = *COUNT
            .get_or_init(|| Level::ALL.iter().take_while(|level| level.is_detected()).count());
        &Level::ALL[..count]
    }

    /// Whether this CPU can run the level.
    pub(crate) fn is_available(self) -> bool {
        Level::available().contains(&self)
    }

    /// The lower-case name, as `GRISTMILL_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_detected(self) -> bool {
        macro_rules! has { ($($feature:tt)*) => { $(is_x86_feature_detected!($feature) &&)* true } }
        match self {
            Level::Portable => true,
            Level::Avx2 => has!("avx2" "fma" "f16c"),
            Level::Avx512 => {
                has!("avx512f" "avx512bw" "avx512vl" "avx512dq" "avx512vnni" "avx512vbmi")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_detected(self) -> bool {
        self == Level::Portable
    }

    /// The level that a value of `GRISTMILL_SIMD` asks for.
    fn lowered_to(wish: &str) -> Level {
        let available = Level::available();
        let highest = *available.last().expect("every CPU has the portable level");
        let wished = Level::ALL.into_iter().find(|level| level.name() == wish);
        wished.unwrap_or(Level::Portable).min(highest)
    }
}

/// The level in use: the highest that this CPU has, unless the environment variable `GRISTMILL_SIMD` names a lower
/// one (`portable`, `avx2`, `avx512`). It cannot raise the level: a higher one than the CPU has is as if it were not
/// set. Any other word means `portable`, so that a misspelling can only make things slower, and shows.
///
/// The variable is read once, at the first call.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| match std::env::var("GRISTMILL_SIMD") {
        Err(std::env::VarError::NotPresent) => Level::lowered_to("avx512"),
        Ok(wish) => Level::lowered_to(wish.trim()),
        Err(std::env::VarError::NotUnicode(_)) => Level::Portable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_lowers_the_level_and_never_raises_it() {
        let highest = *Level::available().last().unwrap();
        for level in Level::ALL {
            assert_eq!(Level::lowered_to(level.name()), level.min(highest));
        }
        assert_eq!(Level::lowered_to("axv2"), Level::Portable);
        assert!(level().is_available());
    }
}
