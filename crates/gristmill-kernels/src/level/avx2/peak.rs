//! Loops over one instruction, for the roofline.

use std::arch::x86_64::*;
use std::hint::black_box;

use crate::level::Level;
use crate::roofline::CHAINS;

/// Reads `bytes`, a multiple of 128, and gives something that is zero if they are.
pub(crate) fn read(bytes: &[u8]) -> u64 {
    #[target_feature(enable = "avx2")]
    fn read(bytes: &[u8]) -> u64 {
        crate::level::portable::peak::read_inline(bytes)
    }
    assert!(Level::Avx2.is_available());
    // SAFETY: the CPU has been asked.
    unsafe { read(bytes) }
}

macro_rules! chains {
    ($(#[$doc:meta])* $name:ident, $level:ident, $features:literal, |$sum:ident, $factor:ident| $next:expr) => {
        $(#[$doc])*
        pub(crate) fn $name(repeats: usize) {
            #[target_feature(enable = $features)]
            fn run(repeats: usize) {
                let $factor = black_box(_mm256_set1_epi8(1));
                let mut sums = [$factor; CHAINS];
                for _ in 0..repeats {
                    for sum in &mut sums {
                        let $sum = *sum;
                        *sum = $next;
                    }
                }
                black_box(sums);
            }
            assert!(Level::$level.is_available());
            // SAFETY: the CPU has been asked.
            unsafe { run(repeats) }
        }
    };
}

// The wider sums that kernels need afterwards run beside these and are not counted.
chains! {
    /// `CHAINS` times `repeats` multiplications of 32 pairs of bytes, with the sums of neighbors.
    int8, Avx2, "avx2", |sum, factor| _mm256_maddubs_epi16(sum, factor)
}
chains! {
    /// The same with the sums of four, added to the sums before.
    int8_vnni, AvxVnni, "avx2,avxvnni", |sum, factor| _mm256_dpbusd_avx_epi32(sum, factor, factor)
}
chains! {
    /// `CHAINS` times `repeats` multiplications of 16 pairs of words, with the sums of neighbors.
    int16, Avx2, "avx2", |sum, factor| _mm256_madd_epi16(sum, factor)
}
