//! One token and weights whose codes are nibbles as they are stored: what unpacking does to each code is done to the
//! sums instead, which pays as long as there is one token to sum for.
//!
//! High nibbles stay where they are, which makes their products sixteen times as large. Where the nibbles of a byte are
//! of two blocks, the activations stand so too.

use std::arch::x86_64::*;

use super::{line, of_zeros};
use crate::level::avx512::arrange::dwords;
use crate::level::avx512::unpack::{Nibbles, Stored};
use crate::matmul::activations::Group;

/// The products of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn products<S: Stored<H>, const H: usize>(
    stored: &[u8],
    nibbles: Nibbles,
    x: &Group,
) -> __m512i {
    // Each by itself: called in a loop or a closure, unpacking would not be inlined.
    // SAFETY: this function has the instructions.
    let first = unsafe { S::bytes(stored, 0) };
    // SAFETY: as above.
    let second = unsafe { S::bytes(stored, 1) };
    // SAFETY: as above.
    let third = unsafe { S::bytes(stored, 2) };
    // SAFETY: as above.
    let fourth = unsafe { S::bytes(stored, 3) };
    let x_codes = match nibbles {
        Nibbles::Halves => x.codes.as_flattened(),
        Nibbles::Pairs => x.paired.as_flattened(),
    };
    let masks = [_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0xf0u8 as i8)];
    let mut sums = [_mm512_setzero_si512(); 2];
    for (j, bytes) in dwords([first, second, third, fourth]).into_iter().enumerate() {
        for part in 0..2 {
            let codes = _mm512_and_si512(bytes, masks[part]);
            sums[part] = _mm512_dpbusd_epi32(sums[part], codes, line(&x_codes[4 * part + j]));
        }
    }
    let [low, high] = [sums[0], _mm512_srai_epi32::<4>(sums[1])];
    let [first, last] = match nibbles {
        Nibbles::Halves => [low, high],
        Nibbles::Pairs => exchanged(low, high),
    };
    _mm512_add_epi32(of_zeros::<S, H>(x, 0), _mm512_add_epi32(first, last))
}

/// From low and high nibbles in [`Nibbles::Pairs`], or what came of them, to first and last halves of blocks; and back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(in crate::level::avx512) fn exchanged(low: __m512i, high: __m512i) -> [__m512i; 2] {
    let first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let last = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    [_mm512_permutex2var_epi64(low, first, high), _mm512_permutex2var_epi64(low, last, high)]
}
