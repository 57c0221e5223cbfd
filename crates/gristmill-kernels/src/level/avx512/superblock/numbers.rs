//! Scales and minima of blocks in super-blocks: small integers times a number of the super-block; the product is exact in
//! f32.

use std::arch::x86_64::*;

use crate::level::avx512::unpack::Numbers;

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
pub(super) fn six_bit_numbers(group: &[u8], bytes: usize) -> Numbers<1> {
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

/// Sixteen bytes from `at` of both super-blocks: two per block, one for each half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn pairs(group: &[u8], bytes: usize, at: usize) -> __m256i {
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
pub(super) fn factors(group: &[u8], bytes: usize, at: usize, sign: f32) -> __m512 {
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
pub(super) fn each_half(pairs: __m256i, factors: __m512) -> [__m512; 2] {
    let first = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(pairs));
    let last = _mm256_srai_epi16::<8>(pairs);
    [
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(first)), factors),
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(last)), factors),
    ]
}
