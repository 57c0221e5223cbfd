//! Sixteen blocks in registers, arranged as the activations of a [`Group`](crate::matmul::activations::Group): each
//! lane has four codes of one block.
#![expect(unsafe_code, reason = "calls functions that want the instructions of this level")]

use std::arch::x86_64::*;

use super::unpack::{Order, Stored, nibbles};

/// The codes of sixteen blocks, arranged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arranged<S: Stored<H>, const H: usize>(group: &[u8]) -> [__m512i; 8] {
    // SAFETY: this function has the instructions.
    let parts = unsafe { S::parts(group) };
    let mut codes = [_mm512_setzero_si512(); 8];
    for j in 0..4 {
        [codes[j], codes[4 + j]] = halves(S::ORDER, [parts[0][j], parts[1][j]]);
    }
    codes
}

/// What the first halves of blocks have in every lane and what the last have, from what is in the two parts.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn halves(order: Order, parts: [__m512i; 2]) -> [__m512i; 2] {
    match order {
        Order::Halves => parts,
        Order::EvenAndOdd => exchanged(parts[0], parts[1]),
        Order::Twos => [
            _mm512_shuffle_i32x4::<0b10_00_10_00>(parts[0], parts[1]),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(parts[0], parts[1]),
        ],
    }
}

/// From even and odd blocks to the first and last halves of all; and back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn exchanged(even: __m512i, odd: __m512i) -> [__m512i; 2] {
    let first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let last = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    [_mm512_permutex2var_epi64(even, first, odd), _mm512_permutex2var_epi64(even, last, odd)]
}

/// The codes of low and of high nibbles of four [lines](Stored::line).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn nibble_parts<S: Stored<H> + ?Sized, const H: usize>(
    group: &[u8],
) -> [[__m512i; 4]; 2] {
    let mut parts = [[_mm512_setzero_si512(); 4]; 2];
    for (j, bytes) in dwords(four_lines::<S, H>(group, 0, 1)).into_iter().enumerate() {
        let nibbles = nibbles(bytes);
        for part in 0..2 {
            // SAFETY: this function has the instructions.
            parts[part][j] = unsafe { S::codes(nibbles[part]) };
        }
    }
    parts
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

/// Types whose codes are best unpacked four blocks at a time.
///
/// # Safety
/// Of all methods: the CPU has the instructions of this level.
pub(super) trait Quads {
    /// The codes of quad `quad`: the first sixteen of each block, and the last sixteen of each.
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2];
}

/// The codes of sixteen blocks, their first halves and their last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn quad_parts<S: Quads>(group: &[u8]) -> [[__m512i; 4]; 2] {
    // Each by itself, as above.
    // SAFETY: this function has the instructions.
    let a = unsafe { S::quad(group, 0) };
    // SAFETY: as above.
    let b = unsafe { S::quad(group, 1) };
    // SAFETY: as above.
    let c = unsafe { S::quad(group, 2) };
    // SAFETY: as above.
    let d = unsafe { S::quad(group, 3) };
    [dwords([a[0], b[0], c[0], d[0]]), dwords([a[1], b[1], c[1], d[1]])]
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
