//! One token and weights whose stored codes can meet the activations as they are: what unpacking does to each code is
//! done to the sums instead, which pays as long as there is one token to sum for.
//!
//! High nibbles stay where they are, which makes their products sixteen times as large. Where two blocks share bytes or
//! registers, the activations stand so too.

use std::arch::x86_64::*;

use super::{line, of_zeros};
use crate::level::avx512::arrange::{dwords, four_lines, halves_of_even_and_odd, halves_of_twos};
use crate::level::avx512::unpack::{Direct, Stored};
use crate::matmul::activations::Group;

/// The products of the first and of the last halves of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn products<S: Stored<H>, const H: usize>(
    stored: &[u8],
    direct: Direct,
    x: &Group,
) -> [__m512i; 2] {
    let mut products = match direct {
        Direct::Halves => of_nibbles::<S, H>(stored, x.codes.as_flattened()),
        Direct::EvenAndOdd => {
            let [even, odd] = of_nibbles::<S, H>(stored, x.paired.as_flattened());
            halves_of_even_and_odd(even, odd)
        }
        Direct::PartsEvenAndOdd => {
            let [even, odd] = of_parts::<S, H>(stored, |part, j| line(&x.paired[part][j]));
            halves_of_even_and_odd(even, odd)
        }
        Direct::PartsInTwos => {
            let [first, last] = of_parts::<S, H>(stored, |part, j| two(&x.paired, part, j));
            halves_of_twos(first, last)
        }
    };
    for h in 0..H {
        products[h] = _mm512_add_epi32(products[h], of_zeros::<S, H>(x, h));
    }
    products
}

/// The activations of the first or last two of every four blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn two(paired: &[[[[i8; 16]; 4]; 4]; 2], part: usize, j: usize) -> __m512i {
    let half = |odd: usize| -> &[i8; 32] {
        let line = paired[odd][j].as_flattened();
        line[32 * part..].first_chunk().expect("a line has two")
    };
    // SAFETY: 32 bytes are there.
    let even = unsafe { _mm256_loadu_si256(half(0).as_ptr().cast()) };
    // SAFETY: as above.
    let odd = unsafe { _mm256_loadu_si256(half(1).as_ptr().cast()) };
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(even), odd)
}

/// The products of the low and of the high nibbles.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn of_nibbles<S: Stored<H>, const H: usize>(stored: &[u8], x: &[[[i8; 16]; 4]]) -> [__m512i; 2] {
    let masks = [_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0xf0u8 as i8)];
    let mut sums = [_mm512_setzero_si512(); 2];
    for (j, bytes) in dwords(four_lines::<S, H>(stored, 0, 1)).into_iter().enumerate() {
        for part in 0..2 {
            let codes = _mm512_and_si512(bytes, masks[part]);
            sums[part] = _mm512_dpbusd_epi32(sums[part], codes, line(&x[4 * part + j]));
        }
    }
    [sums[0], _mm512_srai_epi32::<4>(sums[1])]
}

/// The products of the two parts of codes with activations in the same order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn of_parts<S: Stored<H>, const H: usize>(
    stored: &[u8],
    x: impl Fn(usize, usize) -> __m512i,
) -> [__m512i; 2] {
    // SAFETY: this function has the instructions.
    let parts = unsafe { S::parts(stored) };
    let mut sums = [_mm512_setzero_si512(); 2];
    for j in 0..4 {
        for part in 0..2 {
            sums[part] = _mm512_dpbusd_epi32(sums[part], parts[part][j], x(part, j));
        }
    }
    sums
}
