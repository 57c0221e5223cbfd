//! One token meets codes before they are arranged: what that would do to each of them is done to the sums instead, which
//! pays as long as there is one token to sum for.
//!
//! Nibbles are not shifted either, which makes the products of the high ones sixteen times as large.

use std::arch::x86_64::*;

use super::{line, of_zeros};
use crate::level::avx512::arrange::{dwords, four_lines, halves};
use crate::level::avx512::unpack::{Order, Stored};
use crate::matmul::activations::Group;

/// The products of the first and of the last halves of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn products<S: Stored<H>, const H: usize>(stored: &[u8], x: &Group) -> [__m512i; 2] {
    let sums = if S::NIBBLES { of_nibbles::<S, H>(stored, x) } else { of_parts::<S, H>(stored, x) };
    let mut products = halves(S::ORDER, sums);
    for h in 0..H {
        products[h] = _mm512_add_epi32(products[h], of_zeros::<S, H>(x, h));
    }
    products
}

/// The sums of the two parts, of which codes are the nibbles.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn of_nibbles<S: Stored<H>, const H: usize>(stored: &[u8], x: &Group) -> [__m512i; 2] {
    let masks = [_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0xf0u8 as i8)];
    let mut sums = [_mm512_setzero_si512(); 2];
    for (j, bytes) in dwords(four_lines::<S, H>(stored, 0, 1)).into_iter().enumerate() {
        for part in 0..2 {
            let codes = _mm512_and_si512(bytes, masks[part]);
            sums[part] = _mm512_dpbusd_epi32(sums[part], codes, activations(S::ORDER, x, part, j));
        }
    }
    [sums[0], _mm512_srai_epi32::<4>(sums[1])]
}

/// The sums of the two parts.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn of_parts<S: Stored<H>, const H: usize>(stored: &[u8], x: &Group) -> [__m512i; 2] {
    // SAFETY: this function has the instructions.
    let parts = unsafe { S::parts(stored) };
    let mut sums = [_mm512_setzero_si512(); 2];
    for j in 0..4 {
        for part in 0..2 {
            let x = activations(S::ORDER, x, part, j);
            sums[part] = _mm512_dpbusd_epi32(sums[part], parts[part][j], x);
        }
    }
    sums
}

/// The activations that register `j` of a part meets.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn activations(order: Order, x: &Group, part: usize, j: usize) -> __m512i {
    match order {
        Order::Halves => line(&x.codes.as_flattened()[4 * part + j]),
        Order::EvenAndOdd => line(&x.paired[part][j]),
        Order::Twos => {
            let two = |odd: usize| -> &[i8; 32] {
                let both = x.paired[odd][j].as_flattened();
                both[32 * part..].first_chunk().expect("a line has two")
            };
            // SAFETY: 32 bytes are there.
            let even = unsafe { _mm256_loadu_si256(two(0).as_ptr().cast()) };
            // SAFETY: as above.
            let odd = unsafe { _mm256_loadu_si256(two(1).as_ptr().cast()) };
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(even), odd)
        }
    }
}
