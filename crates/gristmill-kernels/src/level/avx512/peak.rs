//! Loops over one instruction, for the roofline.

use std::arch::x86_64::*;
use std::hint::black_box;

use crate::level::Level;
use crate::roofline::CHAINS;

/// Reads `bytes`, a multiple of 512, and gives something that is zero if they are.
pub(crate) fn read(bytes: &[u8]) -> u64 {
    #[target_feature(enable = "avx512f")]
    fn read(bytes: &[u8]) -> u64 {
        let mut sums = [_mm512_setzero_si512(); 8];
        for lines in bytes.as_chunks::<512>().0 {
            for (sum, line) in sums.iter_mut().zip(lines.as_chunks::<64>().0) {
                // SAFETY: the pointer is to 64 bytes.
                let line = unsafe { _mm512_loadu_si512(line.as_ptr().cast()) };
                *sum = _mm512_xor_si512(*sum, line);
            }
        }
        sums.into_iter().map(|sum| _mm512_reduce_or_epi64(sum) as u64).fold(0, |a, b| a | b)
    }
    assert!(Level::Avx512.is_available());
    // SAFETY: the CPU has been asked.
    unsafe { read(bytes) }
}

macro_rules! chains {
    ($(#[$doc:meta])* $name:ident, $instruction:ident, $features:literal, $is_available:expr, $ones:expr, $zero:expr) => {
        $(#[$doc])*
        pub(crate) fn $name(repeats: usize) {
            #[target_feature(enable = $features)]
            fn run(repeats: usize) {
                let factors = black_box([$ones; 2]);
                let mut sums = [$zero; CHAINS];
                for _ in 0..repeats {
                    for sum in &mut sums {
                        *sum = $instruction(*sum, factors[0], factors[1]);
                    }
                }
                black_box(sums);
            }
            assert!($is_available);
            // SAFETY: the CPU has been asked.
            unsafe { run(repeats) }
        }
    };
    ($(#[$doc:meta])* $name:ident, $instruction:ident) => {
        chains! {
            $(#[$doc])*
            $name, $instruction, "avx512f,avx512bw,avx512vnni", Level::Avx512.is_available(),
            _mm512_set1_epi8(1), _mm512_setzero_si512()
        }
    };
}

chains! {
    /// `CHAINS` times `repeats` multiplications of 64 pairs of bytes, with their sums.
    int8, _mm512_dpbusd_epi32
}
chains! {
    /// `CHAINS` times `repeats` multiplications of 32 pairs of words, with their sums.
    int16, _mm512_dpwssd_epi32
}
chains! {
    /// `CHAINS` times `repeats` multiplications of 32 pairs of BF16 numbers, with their sums.
    bf16, _mm512_dpbf16_ps, "avx512f,avx512bw,avx512bf16", super::bf16::is_available(),
    _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0), _mm512_set1_ps(1.0)), _mm512_setzero_ps()
}
