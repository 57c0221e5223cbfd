//! From stored blocks to registers of codes and scales, for every [`Layout`].
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use crate::matmul::layout::Layout;

/// Sixteen bytes from `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sixteen(bytes: &[u8], at: usize) -> __m128i {
    let bytes: &[u8; 16] = bytes[at..].first_chunk().expect("inside the block");
    // SAFETY: sixteen bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// The codes of two halves: half `halves[0]` of the first block in the low lane, half `halves[1]` of the second in
/// the high one. 8-bit codes are signed, the others unsigned.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn codes<L: Layout>(blocks: [&[u8]; 2], halves: [usize; 2]) -> __m256i {
    if L::BITS == 8 {
        let low = sixteen(blocks[0], L::CODES + 16 * halves[0]);
        let high = sixteen(blocks[1], L::CODES + 16 * halves[1]);
        return _mm256_set_m128i(high, low);
    }
    let stored = _mm256_set_m128i(sixteen(blocks[1], L::CODES), sixteen(blocks[0], L::CODES));
    // Shifts per lane: the bits that cross from one byte into the next are masked off.
    let shifts = _mm256_set_epi64x(
        4 * halves[1] as i64,
        4 * halves[1] as i64,
        4 * halves[0] as i64,
        4 * halves[0] as i64,
    );
    let nibbles = _mm256_and_si256(_mm256_srlv_epi64(stored, shifts), _mm256_set1_epi8(0x0f));
    if L::HIGH.is_none() {
        return nibbles;
    }
    let bits = _mm256_set_m128i(
        _mm_set1_epi16(high_bits::<L>(blocks[1], halves[1])),
        _mm_set1_epi16(high_bits::<L>(blocks[0], halves[0])),
    );
    // Byte `i` gets the byte that holds bit `i`, then only that bit.
    let spread = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, //
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
    );
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201u64 as i64);
    let bits = _mm256_and_si256(_mm256_shuffle_epi8(bits, spread), bit);
    let fifth = _mm256_and_si256(_mm256_cmpeq_epi8(bits, bit), _mm256_set1_epi8(0x10));
    _mm256_or_si256(nibbles, fifth)
}

/// The sixteen fifth bits of one half of a block.
#[inline]
fn high_bits<L: Layout>(block: &[u8], half: usize) -> i16 {
    let at = const { if let Some(high) = L::HIGH { high } else { 0 } } + 2 * half;
    i16::from_le_bytes([block[at], block[at + 1]])
}

/// The f16 numbers at `at` of eight blocks.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn eight(blocks: [&[u8]; 8], at: usize) -> __m256 {
    let mut numbers = [0; 8];
    for i in 0..8 {
        numbers[i] = i16::from_le_bytes([blocks[i][at], blocks[i][at + 1]]);
    }
    let [a, b, c, d, e, f, g, h] = numbers;
    _mm256_cvtph_ps(_mm_setr_epi16(a, b, c, d, e, f, g, h))
}

/// The scales of eight blocks.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn scales<L: Layout>(blocks: [&[u8]; 8]) -> __m256 {
    eight(blocks, L::SCALE)
}

/// The minima of eight blocks, for layouts that have them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn minima<L: Layout>(blocks: [&[u8]; 8]) -> __m256 {
    eight(blocks, const { if let Some(min) = L::MIN { min } else { 0 } })
}
