//! Sixteen blocks in registers, arranged as the activations of a [`Group`](crate::matmul::activations::Group): each
//! lane has four codes of one block.
#![expect(unsafe_code, reason = "calls functions that want the instructions of this level")]

use std::arch::x86_64::*;

use super::unpack::{Stored, nibbles};

/// The codes of sixteen blocks whose [lines](Stored::line) are nibbles, arranged, if the low ones of four lines are
/// the first halves of their blocks, and the high ones the last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arrange_nibbles<S: Stored<H> + ?Sized, const H: usize>(group: &[u8]) -> [__m512i; 8] {
    let lines = four_lines::<S, H>(group, 0, 1);
    let mut codes = [_mm512_setzero_si512(); 8];
    for (j, bytes) in dwords(lines).into_iter().enumerate() {
        let [low, high] = nibbles(bytes);
        // SAFETY: this function has the instructions.
        codes[j] = unsafe { S::codes(low) };
        // SAFETY: as above.
        codes[4 + j] = unsafe { S::codes(high) };
    }
    codes
}

/// The codes of even and odd blocks, arranged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arrange_even_and_odd(parts: [[__m512i; 4]; 2]) -> [__m512i; 8] {
    let mut codes = [_mm512_setzero_si512(); 8];
    for j in 0..4 {
        [codes[j], codes[4 + j]] = halves_of_even_and_odd(parts[0][j], parts[1][j]);
    }
    codes
}

/// The codes of the first two and the last two of every four blocks, arranged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arrange_twos(parts: [[__m512i; 4]; 2]) -> [__m512i; 8] {
    let mut codes = [_mm512_setzero_si512(); 8];
    for j in 0..4 {
        [codes[j], codes[4 + j]] = halves_of_twos(parts[0][j], parts[1][j]);
    }
    codes
}

/// What first halves of blocks have and what last halves have, in the order of the lanes, from what even blocks have and
/// odd ones; and back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn halves_of_even_and_odd(even: __m512i, odd: __m512i) -> [__m512i; 2] {
    let first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let last = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    [_mm512_permutex2var_epi64(even, first, odd), _mm512_permutex2var_epi64(even, last, odd)]
}

/// The same from what the first two and the last two of every four blocks have.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn halves_of_twos(first: __m512i, last: __m512i) -> [__m512i; 2] {
    [
        _mm512_shuffle_i32x4::<0b10_00_10_00>(first, last),
        _mm512_shuffle_i32x4::<0b11_01_11_01>(first, last),
    ]
}

/// Lines `first`, `first + step` and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn four_lines<S: Stored<H> + ?Sized, const H: usize>(
    group: &[u8],
    first: usize,
    step: usize,
) -> [__m512i; 4] {
    // One check instead of one for each load, else this would not be inlined.
    let group = &group[..4 * S::QUAD_BYTES];
    // Each by itself: called in a loop or a closure, unpacking would not be inlined.
    // SAFETY: this function has the instructions.
    let a = unsafe { S::line(group, first) };
    // SAFETY: as above.
    let b = unsafe { S::line(group, first + step) };
    // SAFETY: as above.
    let c = unsafe { S::line(group, first + 2 * step) };
    // SAFETY: as above.
    let d = unsafe { S::line(group, first + 3 * step) };
    [a, b, c, d]
}

/// Types whose codes are best unpacked four blocks at a time before they are arranged.
///
/// # Safety
/// Of all methods: the CPU has the instructions of this level.
pub(super) trait Quads {
    /// The codes of quad `quad`: the first sixteen of each block, and the last sixteen of each.
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2];
}

/// The codes of sixteen blocks, arranged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arrange_quads<S: Quads>(group: &[u8]) -> [__m512i; 8] {
    // Each by itself, as above.
    // SAFETY: this function has the instructions.
    let a = unsafe { S::quad(group, 0) };
    // SAFETY: as above.
    let b = unsafe { S::quad(group, 1) };
    // SAFETY: as above.
    let c = unsafe { S::quad(group, 2) };
    // SAFETY: as above.
    let d = unsafe { S::quad(group, 3) };
    let mut codes = [_mm512_setzero_si512(); 8];
    codes[..4].copy_from_slice(&dwords([a[0], b[0], c[0], d[0]]));
    codes[4..].copy_from_slice(&dwords([a[1], b[1], c[1], d[1]]));
    codes
}

/// Of four quads, each the same sixteen bytes of four blocks, dword `j` of every block: lane `4 i + q` is block `i` of
/// quad `q`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn dwords(quads: [__m512i; 4]) -> [__m512i; 4] {
    let low =
        [_mm512_unpacklo_epi32(quads[0], quads[1]), _mm512_unpacklo_epi32(quads[2], quads[3])];
    let high =
        [_mm512_unpackhi_epi32(quads[0], quads[1]), _mm512_unpackhi_epi32(quads[2], quads[3])];
    [
        _mm512_unpacklo_epi64(low[0], low[1]),
        _mm512_unpackhi_epi64(low[0], low[1]),
        _mm512_unpacklo_epi64(high[0], high[1]),
        _mm512_unpackhi_epi64(high[0], high[1]),
    ]
}
