//! One token and weights whose stored codes can meet the activations as they are: what unpacking does to each code is
//! done to the sums instead, which pays as long as there is one token to sum for.
//!
//! High nibbles stay where they are, which makes their products sixteen times as large. Where two blocks share bytes or
//! registers, the activations stand so too.

use std::arch::x86_64::*;

use super::{line, of_zeros};
use crate::level::avx512::arrange::{dwords, four_lines};
use crate::level::avx512::unpack::{Direct, Stored};
use crate::matmul::activations::Group;

/// The products of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn products<S: Stored<H>, const H: usize>(
    stored: &[u8],
    direct: Direct,
    x: &Group,
) -> __m512i {
    let [first, last] = match direct {
        Direct::Halves => of_nibbles::<S, H>(stored, x.codes.as_flattened()),
        Direct::Pairs => {
            let [low, high] = of_nibbles::<S, H>(stored, x.paired.as_flattened());
            exchanged(low, high)
        }
        Direct::Bytes => {
            let [even, odd] = of_bytes::<S, H>(stored, &x.paired);
            exchanged(even, odd)
        }
    };
    _mm512_add_epi32(of_zeros::<S, H>(x, 0), _mm512_add_epi32(first, last))
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

/// The products of the even and of the odd blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn of_bytes<S: Stored<H>, const H: usize>(
    stored: &[u8],
    x: &[[[[i8; 16]; 4]; 4]; 2],
) -> [__m512i; 2] {
    let even = dwords(four_lines::<S, H>(stored, 0, 2));
    let odd = dwords(four_lines::<S, H>(stored, 1, 2));
    let mut sums = [_mm512_setzero_si512(); 2];
    for j in 0..4 {
        sums[0] = _mm512_dpbusd_epi32(sums[0], even[j], line(&x[0][j]));
        sums[1] = _mm512_dpbusd_epi32(sums[1], odd[j], line(&x[1][j]));
    }
    sums
}

/// From the order of [`Direct::Pairs`] and [`Direct::Bytes`], of codes or of what came of them, to the first and last
/// halves of blocks; and back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(in crate::level::avx512) fn exchanged(even: __m512i, odd: __m512i) -> [__m512i; 2] {
    let first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let last = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    [_mm512_permutex2var_epi64(even, first, odd), _mm512_permutex2var_epi64(even, last, odd)]
}
