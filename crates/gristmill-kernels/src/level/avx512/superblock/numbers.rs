//! Scales and minima of blocks in super-blocks: small integers times a number of the super-block; the product is exact in
//! f32.

use std::arch::x86_64::*;

use crate::level::avx512::unpack::Numbers;
use crate::matmul::activations::Arrangement;

/// How 32 six-bit numbers are found in sixteen bytes of two super-blocks each.
struct SixBits {
    /// The bytes that the low bits are in, and the high ones.
    from: [[u8; 32]; 2],
    /// The bit of its eight bytes that each of them starts with.
    shifts: [[u8; 32]; 2],
    /// Which bits they are.
    bits: [[u8; 32]; 2],
}

impl SixBits {
    /// The numbers in sixteen bytes of two super-blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    fn of(&self, packed: __m256i) -> __m256i {
        let mut integers = _mm256_setzero_si256();
        for part in 0..2 {
            let bytes = _mm256_permutexvar_epi8(constant(&self.from[part]), packed);
            let bits = _mm256_multishift_epi64_epi8(constant(&self.shifts[part]), bytes);
            let bits = _mm256_and_si256(bits, constant(&self.bits[part]));
            integers = _mm256_or_si256(integers, bits);
        }
        integers
    }
}

/// The scales of sixteen blocks of Q4_K or Q5_K in the order of the lanes, then their minima.
///
/// Of the first sixteen bytes of a super-block 4..8 have scales, 8..12 minima, and their two top bits are those of the
/// last four of each, whose other bits are the nibbles of bytes 12..16.
const Q4K_NUMBERS: SixBits = {
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
    let integers = const { &Q4K_NUMBERS }.of(packed);
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

/// The scales of the first halves of sixteen blocks of Q3_K in the order of the lanes, then of the last halves.
///
/// Of the last sixteen bytes of a super-block 2..10 have the low bits of eight in their low nibbles, and of eight more in
/// the high ones, and 10..14 the high bits of four, then of the next four, and so on.
const Q3K_SCALES: SixBits = {
    let (mut from, mut shifts, bits) = ([[0; 32]; 2], [[0; 32]; 2], [[0x0f; 32], [0x30; 32]]);
    let mut i = 0;
    while i < 32 {
        let byte = HALVES[i];
        let (start, g, at) = (byte / 16 * 16, byte % 16, i as u8 % 8 * 8);
        from[0][i] = start + 2 + g % 8;
        shifts[0][i] = at + 4 * (g / 8);
        from[1][i] = start + 10 + g % 4;
        // Bits before the first are the last ones; they come to where the fifth and the sixth are.
        shifts[1][i] = (at + 2 * (g / 4) + 64 - 4) % 64;
        i += 1;
    }
    SixBits { from, shifts, bits }
};

/// The scales of the half blocks of Q3_K.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn q3k_scales(group: &[u8]) -> [__m512; 2] {
    let integers = const { &Q3K_SCALES }.of(pairs(group, 110, 94));
    scaled(_mm256_sub_epi8(integers, _mm256_set1_epi8(32)), factors(group, 110, 108, 1.0))
}

/// The scales of sixteen blocks of IQ4_XS in the order of the lanes, and nothing.
///
/// Of the first bytes of a super-block 2 and 3 have the high bits of eight, and 4..8 the low ones.
const IQ4XS_SCALES: SixBits = {
    let (mut from, mut shifts, mut bits) = ([[0; 32]; 2], [[0; 32]; 2], [[0; 32]; 2]);
    let mut i = 0;
    while i < 16 {
        let lane = Arrangement::Dwords.lane(i);
        let (start, b, at) = (i as u8 / 8 * 16, i as u8 % 8, lane as u8 % 8 * 8);
        from[0][lane] = start + 4 + b / 2;
        shifts[0][lane] = at + 4 * (b % 2);
        bits[0][lane] = 0x0f;
        from[1][lane] = start + 2 + b / 4;
        // As above.
        shifts[1][lane] = (at + 2 * (b % 4) + 64 - 4) % 64;
        bits[1][lane] = 0x30;
        i += 1;
    }
    SixBits { from, shifts, bits }
};

/// The scales of the blocks of IQ4_XS.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn iq4xs_scales(group: &[u8]) -> __m512 {
    let integers = const { &IQ4XS_SCALES }.of(pairs(group, 136, 0));
    scaled(_mm256_sub_epi8(integers, _mm256_set1_epi8(32)), factors(group, 136, 0, 1.0))[0]
}

/// Of each lane, the byte for the first half of its block, among sixteen of one super-block and sixteen of another that
/// have two bytes for each block; then those for the last halves.
const HALVES: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut b = 0;
    while b < 16 {
        let lane = Arrangement::Dwords.lane(b);
        (bytes[lane], bytes[16 + lane]) = (2 * b as u8, 2 * b as u8 + 1);
        b += 1;
    }
    bytes
};

/// A byte for each half block, from sixteen at `at` of both super-blocks: of the first halves in the order of the lanes,
/// then of the last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn halves(group: &[u8], bytes: usize, at: usize) -> __m256i {
    _mm256_permutexvar_epi8(constant(&HALVES), pairs(group, bytes, at))
}

/// Sixteen bytes from `at` of both super-blocks.
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

/// The numbers at `at` of both super-blocks, in the order of the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn factors(group: &[u8], bytes: usize, at: usize, sign: f32) -> __m512 {
    let word = |at: usize| i32::from(u16::from_le_bytes([group[at], group[at + 1]]));
    let words = _mm_cvtsi32_si128(word(at) | word(bytes + at) << 16);
    let factors = _mm_cvtph_ps(_mm_unpacklo_epi16(words, words));
    _mm512_mul_ps(_mm512_broadcast_f32x4(factors), _mm512_set1_ps(sign))
}

/// Signed bytes times factors, for the first halves of blocks and for the last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn scaled(halves: __m256i, factors: __m512) -> [__m512; 2] {
    let (first, last) = (_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
    [
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(first)), factors),
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(last)), factors),
    ]
}
