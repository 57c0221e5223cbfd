//! Sixteen blocks in registers, arranged as the activations of a [`Group`](crate::matmul::activations::Group): each
//! lane has four codes of one block.
#![expect(unsafe_code, reason = "calls functions that want the instructions of this level")]

use std::arch::x86_64::*;

use super::unpack::Stored;

/// The codes of a whole group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arrange_group<S: Stored<H> + ?Sized, const H: usize>(group: &[u8]) -> [__m512i; 8] {
    // Each by itself: called in a loop or a closure, unpacking would not be inlined.
    arrange::<S, H>([
        quad::<S, H>(group, 0),
        quad::<S, H>(group, 1),
        quad::<S, H>(group, 2),
        quad::<S, H>(group, 3),
    ])
}

/// What [`arrange`] takes: the codes of a quad, or only the bytes that they are nibbles of.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn quad<S: Stored<H> + ?Sized, const H: usize>(
    weights: &[u8],
    q: usize,
) -> [__m512i; 2] {
    if S::NIBBLES {
        // SAFETY: this function has the instructions.
        [unsafe { S::bytes(weights, q) }, _mm512_setzero_si512()]
    } else {
        // SAFETY: as above.
        unsafe { S::quad(weights, q) }
    }
}

/// The codes of four quads, arranged as those of the activations.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arrange<S: Stored<H> + ?Sized, const H: usize>(
    quads: [[__m512i; 2]; 4],
) -> [__m512i; 8] {
    let mut codes = [_mm512_setzero_si512(); 8];
    let first = dwords(quads.map(|quad| quad[0]));
    if S::NIBBLES {
        for j in 0..4 {
            // SAFETY: this function has the instructions.
            [codes[j], codes[4 + j]] = unsafe { S::split(first[j]) };
        }
    } else {
        codes[..4].copy_from_slice(&first);
        codes[4..].copy_from_slice(&dwords(quads.map(|quad| quad[1])));
    }
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
