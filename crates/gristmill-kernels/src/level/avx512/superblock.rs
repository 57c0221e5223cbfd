//! The K types: super-blocks of 256 weights, which are eight blocks of 32 here, two of them a group.
//!
//! Scales and minima of a block are small integers times a number of the super-block; the product is exact in f32.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::gemv::exchanged;
use super::unpack::{Direct, Numbers, Stored, load, look_up, nibbles};
use crate::matmul::blocks::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
use crate::matmul::layout::IQ4;

/// How the six-bit numbers of Q4_K and Q5_K are found in the first sixteen bytes of two super-blocks: for the scales of
/// sixteen blocks in the order of the lanes, then for their minima.
///
/// Of each super-block bytes 4..8 have scales, 8..12 minima, and their two top bits are those of the last four of each,
/// whose other bits are the nibbles of bytes 12..16.
struct SixBits {
    /// The bytes that the low bits are in, and the high ones.
    from: [[u8; 32]; 2],
    /// The bit of its eight bytes that each of them starts with.
    shifts: [[u8; 32]; 2],
    /// Which bits they are.
    bits: [[u8; 32]; 2],
}

const SIX_BITS: SixBits = {
    let (mut from, mut shifts, mut bits) = ([[0; 32]; 2], [[0; 32]; 2], [[0; 32]; 2]);
    let mut i = 0;
    while i < 32 {
        let (is_min, lane) = (i as u8 / 16, i as u8 % 16);
        let b = 4 * (lane % 4) + lane / 4;
        let (start, b, at) = (b / 8 * 16, b % 8, 8 * (lane % 8));
        if b < 4 {
            from[0][i] = start + 4 + 4 * is_min + b;
            shifts[0][i] = at;
            bits[0][i] = 0x3f;
        } else {
            from[0][i] = start + 8 + b;
            shifts[0][i] = at + 4 * is_min;
            bits[0][i] = 0x0f;
            from[1][i] = start + 4 * is_min + b;
            // The top two bits come to where the fifth and the sixth are.
            shifts[1][i] = at + 2;
            bits[1][i] = 0x30;
        }
        i += 1;
    }
    SixBits { from, shifts, bits }
};

/// The scales and minima of the blocks of Q4_K and Q5_K.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn six_bit_numbers(group: &[u8], bytes: usize) -> Numbers<1> {
    let packed = pairs(group, bytes, 0);
    let six_bits = const { &SIX_BITS };
    let mut integers = _mm256_setzero_si256();
    for part in 0..2 {
        let bytes = _mm256_permutexvar_epi8(constant(&six_bits.from[part]), packed);
        let bits = _mm256_multishift_epi64_epi8(constant(&six_bits.shifts[part]), bytes);
        let bits = _mm256_and_si256(bits, constant(&six_bits.bits[part]));
        integers = _mm256_or_si256(integers, bits);
    }
    // The two numbers of each super-block, of which those of minima are subtracted.
    let words = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
    let words = _mm_xor_si128(_mm256_castsi256_si128(words), _mm_set1_epi32(i32::MIN));
    let factors = _mm512_castps128_ps512(_mm_cvtph_ps(words));
    let first = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 2, 2));
    let second = _mm512_broadcast_i32x4(_mm_setr_epi32(1, 1, 3, 3));
    let scales = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(integers)));
    let minima = _mm256_extracti128_si256::<1>(integers);
    let minima = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(minima));
    Numbers {
        scales: [_mm512_mul_ps(scales, _mm512_permutexvar_ps(first, factors))],
        minima: [_mm512_mul_ps(minima, _mm512_permutexvar_ps(second, factors))],
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn constant(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Sixteen bytes, in all four lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn four_times(bytes: &[u8], at: usize) -> __m512i {
    let bytes: &[u8; 16] = bytes[at..].first_chunk().expect("inside the super-block");
    // SAFETY: sixteen bytes are there.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// The nibbles of 64 bytes that hold four blocks: bytes 0..32 two blocks, one low and one high, bytes 32..64 two more.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn paired_nibbles(bytes: __m512i) -> [__m512i; 2] {
    let shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    let mask = _mm512_set1_epi8(0x0f);
    let first = _mm512_shuffle_i32x4::<0b10_10_00_00>(bytes, bytes);
    let last = _mm512_shuffle_i32x4::<0b11_11_01_01>(bytes, bytes);
    [
        _mm512_and_si512(_mm512_srlv_epi64(first, shifts), mask),
        _mm512_and_si512(_mm512_srlv_epi64(last, shifts), mask),
    ]
}

impl Stored<1> for Q4K {
    const NIBBLES: bool = true;
    const DIRECT: Option<Direct> = Some(Direct::Pairs);

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        // SAFETY: this function has the instructions.
        paired_nibbles(unsafe { Self::bytes(group, quad) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn bytes(group: &[u8], quad: usize) -> __m512i {
        load(group, quad / 2 * 144 + 16 + quad % 2 * 64)
    }

    fn place(lane: usize, nibble: usize) -> (usize, usize) {
        (lane / 2 * 2 + nibble, lane % 2)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn split(bytes: __m512i) -> [__m512i; 2] {
        let [low, high] = nibbles(bytes);
        exchanged(low, high)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        six_bit_numbers(group, 144)
    }
}

impl Stored<1> for Q5K {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        let (start, part) = (quad / 2 * 176, quad % 2);
        let mut codes = paired_nibbles(load(group, start + 48 + 64 * part));
        let bits = bit_of_block(part);
        for half in 0..2 {
            let set = _mm512_test_epi8_mask(four_times(group, start + 16 + 16 * half), bits);
            codes[half] =
                _mm512_mask_add_epi8(codes[half], set, codes[half], _mm512_set1_epi8(0x10));
        }
        codes
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        six_bit_numbers(group, 176)
    }
}

impl Stored<2> for Q6K {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        let (start, part) = (quad / 2 * 210, quad % 2);
        // The low four bits: of blocks 0 and 1 the low nibbles of 64 bytes, of blocks 2 and 3 the high ones.
        let bytes = load(group, start + 64 * part);
        let halves = [
            _mm512_shuffle_i32x4::<0b10_00_10_00>(bytes, bytes),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(bytes, bytes),
        ];
        // The high two: block `i` has bits `2 i` and `2 i + 1` of 32 bytes, which a rotation brings to bits 4 and 5.
        let rotations = _mm512_setr_epi64(4, 4, 2, 2, 0, 0, 62, 62);
        let shifts = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
        let mut codes = halves;
        for half in 0..2 {
            let low =
                _mm512_and_si512(_mm512_srlv_epi64(halves[half], shifts), _mm512_set1_epi8(0x0f));
            let high = _mm512_rolv_epi64(
                four_times(group, start + 128 + 32 * part + 16 * half),
                rotations,
            );
            codes[half] = _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
        }
        codes
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn scales(group: &[u8]) -> [__m512; 2] {
        each_half(pairs(group, 210, 192), factors(group, 210, 208, 1.0))
    }
}

impl Stored<2> for Q2K {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        two_bits(group, quad / 2 * 84 + 16 + quad % 2 * 32)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn scales(group: &[u8]) -> [__m512; 2] {
        let integers = pairs(group, 84, 0);
        let factors = factors(group, 84, 80, 1.0);
        each_half(_mm256_and_si256(integers, _mm256_set1_epi8(0x0f)), factors)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn minima(group: &[u8]) -> [__m512; 2] {
        let integers = _mm256_srli_epi16::<4>(pairs(group, 84, 0));
        let factors = factors(group, 84, 82, -1.0);
        each_half(_mm256_and_si256(integers, _mm256_set1_epi8(0x0f)), factors)
    }
}

impl Stored<2> for Q3K {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        let (start, part) = (quad / 2 * 110, quad % 2);
        let mut codes = two_bits(group, start + 32 + 32 * part);
        for half in 0..2 {
            let set =
                _mm512_test_epi8_mask(four_times(group, start + 16 * half), bit_of_block(part));
            codes[half] = _mm512_mask_add_epi8(codes[half], set, codes[half], _mm512_set1_epi8(4));
        }
        codes
    }
}

impl Stored<1> for Iq4Xs {
    const NIBBLES: bool = true;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        // SAFETY: this function has the instructions.
        let [low, high] = nibbles(unsafe { Self::bytes(group, quad) });
        [look_up(low, &IQ4), look_up(high, &IQ4)]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn bytes(group: &[u8], quad: usize) -> __m512i {
        load(group, quad / 2 * 136 + 8 + quad % 2 * 64)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn codes(nibbles: __m512i) -> __m512i {
        look_up(nibbles, &IQ4)
    }
}

/// The 2-bit codes of four blocks in the 32 bytes at `at`: block `i` has bits `2 i` and `2 i + 1` of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn two_bits(group: &[u8], at: usize) -> [__m512i; 2] {
    let shifts = _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6);
    let mask = _mm512_set1_epi8(3);
    [
        _mm512_and_si512(_mm512_srlv_epi64(four_times(group, at), shifts), mask),
        _mm512_and_si512(_mm512_srlv_epi64(four_times(group, at + 16), shifts), mask),
    ]
}

/// Bit `4 part + i` in every byte of lane `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn bit_of_block(part: usize) -> __m512i {
    let bits = _mm512_setr_epi64(
        0x0101_0101_0101_0101,
        0x0101_0101_0101_0101,
        0x0202_0202_0202_0202,
        0x0202_0202_0202_0202,
        0x0404_0404_0404_0404,
        0x0404_0404_0404_0404,
        0x0808_0808_0808_0808,
        0x0808_0808_0808_0808,
    );
    _mm512_sll_epi64(bits, _mm_cvtsi32_si128(4 * part as i32))
}

/// Sixteen bytes from `at` of both super-blocks: two per block, one for each half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pairs(group: &[u8], bytes: usize, at: usize) -> __m256i {
    let mut halves = [_mm_setzero_si128(); 2];
    for half in 0..2 {
        let bytes: &[u8; 16] =
            group[half * bytes + at..].first_chunk().expect("inside the super-block");
        // SAFETY: sixteen bytes are there.
        halves[half] = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    }
    _mm256_set_m128i(halves[1], halves[0])
}

/// The numbers at `at` of both super-blocks, for their blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn factors(group: &[u8], bytes: usize, at: usize, sign: f32) -> __m512 {
    let mut words = [_mm_setzero_si128(); 2];
    for half in 0..2 {
        let number = [group[half * bytes + at], group[half * bytes + at + 1]];
        words[half] = _mm_set1_epi16(i16::from_le_bytes(number));
    }
    let factors = _mm512_cvtph_ps(_mm256_set_m128i(words[1], words[0]));
    _mm512_mul_ps(factors, _mm512_set1_ps(sign))
}

/// Signed bytes times factors: even ones are those of first halves of blocks, odd ones of last halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn each_half(pairs: __m256i, factors: __m512) -> [__m512; 2] {
    let first = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(pairs));
    let last = _mm256_srai_epi16::<8>(pairs);
    [
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(first)), factors),
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(last)), factors),
    ]
}
