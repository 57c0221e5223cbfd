//! From stored blocks to registers of codes and scales: the interface, and every [`Layout`].
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use crate::matmul::blocks::{Blocks, Iq4Xs, Plain, Q2K, Q3K, Q4K, Q5K, Q6K};
use crate::matmul::layout::{IQ4, Layout, Scale};

/// How eight stored blocks of 32 weights become registers. What a type does not define itself goes through its plain
/// meaning, [`Blocks`].
///
/// # Safety
/// Of all methods: the CPU has the instructions of this level.
pub(crate) trait Stored<const H: usize>: Blocks<H> {
    /// The codes of two half blocks, each a block and which half of it: the first in the low lane.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        let low = Self::sixteen(eight, halves[0].0, halves[0].1);
        let high = Self::sixteen(eight, halves[1].0, halves[1].1);
        _mm256_set_m128i(sixteen(&high, 0), sixteen(&low, 0))
    }

    /// The scales of the blocks: of all their weights, or of their first and their last sixteen.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(eight: &[u8]) -> [__m256; H] {
        by_block(|b, h| Self::scale(eight, b, h))
    }

    /// The minima, if there are any.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn minima(eight: &[u8]) -> [__m256; H] {
        by_block(|b, h| Self::minimum(eight, b, h))
    }
}

impl Stored<2> for Q2K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        bits(eight, halves, |b, half| (16 + b / 4 * 32 + 16 * half, b % 4 * 2), 0x03)
    }
}

impl Stored<2> for Q3K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        let low = bits(eight, halves, |b, half| (32 + b / 4 * 32 + 16 * half, b % 4 * 2), 0x03);
        let third = bits(eight, halves, |b, half| (16 * half, b), 0x01);
        _mm256_or_si256(low, _mm256_slli_epi16::<2>(third))
    }
}

impl Stored<1> for Q4K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        bits(eight, halves, |b, half| (16 + b / 2 * 32 + 16 * half, b % 2 * 4), 0x0f)
    }
}

impl Stored<1> for Q5K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        let low = bits(eight, halves, |b, half| (48 + b / 2 * 32 + 16 * half, b % 2 * 4), 0x0f);
        let fifth = bits(eight, halves, |b, half| (16 + 16 * half, b), 0x01);
        _mm256_or_si256(low, _mm256_slli_epi16::<4>(fifth))
    }
}

impl Stored<2> for Q6K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        let low = bits(
            eight,
            halves,
            |b, half| (b / 4 * 64 + b % 2 * 32 + 16 * half, b % 4 / 2 * 4),
            0x0f,
        );
        let high = bits(eight, halves, |b, half| (128 + b / 4 * 32 + 16 * half, b % 4 * 2), 0x03);
        _mm256_or_si256(low, _mm256_slli_epi16::<4>(high))
    }
}

impl Stored<1> for Iq4Xs {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        look_up(bits(eight, halves, |b, half| (8 + 16 * b, 4 * half), 0x0f), &IQ4)
    }
}

impl<L: Layout> Stored<1> for Plain<L> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn codes(eight: &[u8], halves: [(usize, usize); 2]) -> __m256i {
        let [(first, first_half), (second, second_half)] = halves;
        let blocks = [block::<L>(eight, first), block::<L>(eight, second)];
        codes::<L>(blocks, [first_half, second_half])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(eight: &[u8]) -> [__m256; 1] {
        if L::SCALE == Scale::F16 {
            [numbers::<L>(eight, 0)]
        } else {
            by_block(|b, h| Self::scale(eight, b, h))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn minima(eight: &[u8]) -> [__m256; 1] {
        [numbers::<L>(eight, const { if let Some(min) = L::MIN { min } else { 0 } })]
    }
}

/// Some bits of sixteen bytes in each lane: `place` says, for a block and a half of it, which bytes, and from which bit
/// on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn bits(
    eight: &[u8],
    halves: [(usize, usize); 2],
    place: impl Fn(usize, usize) -> (usize, usize),
    mask: i8,
) -> __m256i {
    let (first, first_bit) = place(halves[0].0, halves[0].1);
    let (second, second_bit) = place(halves[1].0, halves[1].1);
    let stored = _mm256_set_m128i(sixteen(eight, second), sixteen(eight, first));
    shifted(stored, [first_bit, second_bit], mask)
}

/// The bits of `mask` of each byte, shifted right by as much as is said for each lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn shifted(stored: __m256i, bits: [usize; 2], mask: i8) -> __m256i {
    // What crosses from one byte into the next is masked off.
    let [first, second] = [bits[0] as i64, bits[1] as i64];
    let shifts = _mm256_set_epi64x(second, second, first, first);
    _mm256_and_si256(_mm256_srlv_epi64(stored, shifts), _mm256_set1_epi8(mask))
}

/// Entries of a table, plus 128.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn look_up(nibbles: __m256i, entries: &[i8; 16]) -> __m256i {
    // SAFETY: sixteen bytes are there.
    let entries = unsafe { _mm_loadu_si128(entries.as_ptr().cast()) };
    let codes = _mm_xor_si128(entries, _mm_set1_epi8(i8::MIN));
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(codes), nibbles)
}

/// A number for each of eight blocks or half blocks.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn by_block<const H: usize>(number: impl Fn(usize, usize) -> f32) -> [__m256; H] {
    let mut registers = [_mm256_setzero_ps(); H];
    for h in 0..H {
        let mut numbers = [0.0; 8];
        for b in 0..8 {
            numbers[b] = number(b, h);
        }
        // SAFETY: eight floats are there.
        registers[h] = unsafe { _mm256_loadu_ps(numbers.as_ptr()) };
    }
    registers
}

/// Block `b`.
#[inline(always)]
fn block<L: Layout>(eight: &[u8], b: usize) -> &[u8] {
    &eight[b * L::BYTES..(b + 1) * L::BYTES]
}

/// Sixteen bytes from `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sixteen(bytes: &[u8], at: usize) -> __m128i {
    let bytes: &[u8; 16] = bytes[at..].first_chunk().expect("inside the block");
    // SAFETY: sixteen bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// The codes of half `halves[0]` of the first block in the low lane, of half `halves[1]` of the second in the high.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn codes<L: Layout>(blocks: [&[u8]; 2], halves: [usize; 2]) -> __m256i {
    if L::BITS == 8 {
        let low = sixteen(blocks[0], L::CODES + 16 * halves[0]);
        let high = sixteen(blocks[1], L::CODES + 16 * halves[1]);
        // Signed bytes with the top bit flipped are codes around 128.
        return _mm256_xor_si256(_mm256_set_m128i(high, low), _mm256_set1_epi8(i8::MIN));
    }
    let stored = _mm256_set_m128i(sixteen(blocks[1], L::CODES), sixteen(blocks[0], L::CODES));
    let nibbles = shifted(stored, [4 * halves[0], 4 * halves[1]], 0x0f);
    if let Some(entries) = L::TABLE {
        return look_up(nibbles, entries);
    }
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
#[inline(always)]
fn high_bits<L: Layout>(block: &[u8], half: usize) -> i16 {
    let at = const { if let Some(high) = L::HIGH { high } else { 0 } } + 2 * half;
    i16::from_le_bytes([block[at], block[at + 1]])
}

/// The f16 numbers at `at` of eight blocks.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn numbers<L: Layout>(eight: &[u8], at: usize) -> __m256 {
    let mut numbers = [0; 8];
    for b in 0..8 {
        let block = block::<L>(eight, b);
        numbers[b] = i16::from_le_bytes([block[at], block[at + 1]]);
    }
    let [a, b, c, d, e, f, g, h] = numbers;
    _mm256_cvtph_ps(_mm_setr_epi16(a, b, c, d, e, f, g, h))
}
