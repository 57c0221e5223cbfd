//! Which instructions this CPU has, found out once, and how to use fewer of them.
//!
//! A level is a set of instructions that a family of kernels needs; each family lives in the folder of its name
//! below `level/` and opens with how it maps to the hardware. All levels compute the same integers and differ in the
//! rounding of float sums only.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
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
    /// x86-64 with AVX2, FMA, F16C and AVX-VNNI: Alder Lake and Zen 5 and their successors.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, VL, DQ, VNNI and VBMI: Ice Lake and Zen 4 and their successors.
    Avx512,
    /// 64-bit Arm: all have NEON.
    Neon,
    /// 64-bit Arm with the dot products of bytes: Cortex-A55, A76 and Neoverse N1 and their successors.
    NeonDotprod,
    /// 64-bit Arm with dot products and 2 x 2 products of bytes: Cortex-A510, Neoverse V1 and their successors.
    NeonI8mm,
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

    tags! { Portable Avx2 Avx512 Neon }
    #[cfg(target_arch = "x86_64")]
    tags! { AvxVnni }
    #[cfg(target_arch = "aarch64")]
    tags! { NeonDotprod NeonI8mm }
}

impl Level {
    /// The levels of this architecture, the least first.
    const ALL: &[Level] = {
        if cfg!(target_arch = "x86_64") {
            &[Level::Portable, Level::Avx2, Level::AvxVnni, Level::Avx512]
        } else if cfg!(target_arch = "aarch64") {
            &[Level::Portable, Level::Neon, Level::NeonDotprod, Level::NeonI8mm]
        } else {
            &[Level::Portable]
        }
    };

    /// The levels this CPU can run, the least first. Only these are ever used. Some may be missing in between: the
    /// first CPUs with AVX-512 do not have AVX-VNNI.
    pub fn available() -> &'static [Level] {
        static AVAILABLE: OnceLock<Vec<Level>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            Level::ALL.iter().copied().filter(|level| level.is_detected()).collect()
        })
    }

    /// The highest of them.
    fn highest() -> Level {
        *Level::available().last().expect("every CPU has the portable level")
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
            Level::AvxVnni => "avx-vnni",
            Level::Avx512 => "avx512",
            Level::Neon => "neon",
            Level::NeonDotprod => "neon-dotprod",
            Level::NeonI8mm => "neon-i8mm",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_detected(self) -> bool {
        macro_rules! has { ($($feature:tt)*) => { $(is_x86_feature_detected!($feature) &&)* true } }
        match self {
            Level::Portable => true,
            Level::Avx2 => has!("avx2" "fma" "f16c"),
            Level::AvxVnni => has!("avx2" "fma" "f16c" "avxvnni"),
            Level::Avx512 => {
                has!("avx512f" "avx512bw" "avx512vl" "avx512dq" "avx512vnni" "avx512vbmi")
            }
            _ => false,
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn is_detected(self) -> bool {
        use std::arch::is_aarch64_feature_detected as has;
        // With the bytes of numbers the other way round, registers would not hold what the kernels think.
        let is_little = cfg!(target_endian = "little");
        match self {
            Level::Portable => true,
            Level::Neon => is_little,
            Level::NeonDotprod => is_little && has!("dotprod"),
            Level::NeonI8mm => is_little && has!("i8mm"),
            _ => false,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_detected(self) -> bool {
        self == Level::Portable
    }

    /// The level that a value of `GRISTMILL_SIMD` asks for, or the next lower one that this CPU has.
    fn lowered_to(wish: &str) -> Level {
        let wished = Level::ALL.iter().find(|level| level.name() == wish);
        wished.map_or(Level::Portable, |&level| level.highest_available())
    }

    /// The highest level of this CPU that is not above this one.
    fn highest_available(self) -> Level {
        let below = Level::available().iter().rfind(|&&level| level <= self);
        *below.expect("every CPU has the portable level")
    }
}

/// The level in use: the highest that this CPU has, unless the environment variable `GRISTMILL_SIMD` names a lower
/// one (`portable`; on x86-64 `avx2`, `avx-vnni`, `avx512`; on 64-bit Arm `neon`, `neon-dotprod`, `neon-i8mm`). It cannot
/// raise the level: a higher one than the CPU has is as if it were not set. Any other word, also the level of another
/// architecture, means `portable`, so that a misspelling can only make things slower, and shows.
///
/// The variable is read once, at the first call.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| match std::env::var("GRISTMILL_SIMD") {
        Err(std::env::VarError::NotPresent) => Level::highest(),
        Ok(wish) => Level::lowered_to(wish.trim()),
        Err(std::env::VarError::NotUnicode(_)) => Level::Portable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_lowers_the_level_and_never_raises_it() {
        for &level in Level::ALL {
            let lowered = Level::lowered_to(level.name());
            assert!(lowered <= level && lowered.is_available());
            assert!(Level::available().iter().all(|&other| other <= lowered || other > level));
        }
        let foreign = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
        assert_eq!(Level::lowered_to(foreign), Level::Portable);
        assert_eq!(Level::lowered_to("axv2"), Level::Portable);
        assert!(level().is_available());
    }
}
