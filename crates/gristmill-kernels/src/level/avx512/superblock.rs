//! The K types: super-blocks of 256 weights, which are eight blocks of 32 here, two of them a group.
//!
//! `numbers`: their scales and minima.
#![expect(unsafe_code, reason = "vector loads")]

mod numbers;

use std::arch::x86_64::*;

use super::arrange::{Quads, arrange_nibbles, arrange_quads};
use super::gemv::exchanged;
use super::unpack::{Direct, Numbers, Stored, load, load_two, look_up};
use crate::matmul::blocks::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
use crate::matmul::layout::IQ4;
use numbers::{each_half, factors, pairs, six_bit_numbers};

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
    const LINES: usize = 4;
    const DIRECT: Option<Direct> = Some(Direct::Pairs);

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn line(group: &[u8], line: usize) -> __m512i {
        load(group, line / 2 * 144 + 16 + line % 2 * 64)
    }

    fn place(line: usize, lane: usize, part: usize) -> (usize, usize) {
        (4 * line + lane / 2 * 2 + part, lane % 2)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        let mut codes = arrange_nibbles::<Self, 1>(group);
        for j in 0..4 {
            [codes[j], codes[4 + j]] = exchanged(codes[j], codes[4 + j]);
        }
        codes
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        six_bit_numbers(group, 144)
    }
}

impl Stored<1> for Q5K {
    const LINES: usize = 4;
    const HIGH_LINES: usize = 1;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn line(group: &[u8], line: usize) -> __m512i {
        load(group, line / 2 * 176 + 48 + line % 2 * 64)
    }

    fn place(line: usize, lane: usize, part: usize) -> (usize, usize) {
        Q4K::place(line, lane, part)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn high_line(group: &[u8], _: usize) -> __m512i {
        load_two(group, 16, 176 + 16)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn with_high(codes: __m512i, high: &[[__m512i; 16]; 2], b: usize, j: usize) -> __m512i {
        with_bits::<0x10>(codes, high[0][b / 8 * 8 + j], b % 8)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        arrange_quads::<Self>(group)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        six_bit_numbers(group, 176)
    }
}

impl Quads for Q5K {
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
}

impl Stored<2> for Q6K {
    const LINES: usize = 4;
    const HIGH_LINES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn line(group: &[u8], line: usize) -> __m512i {
        load(group, line / 2 * 210 + line % 2 * 64)
    }

    fn place(line: usize, lane: usize, part: usize) -> (usize, usize) {
        (4 * line + 2 * part + lane / 2, lane % 2)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn high_line(group: &[u8], line: usize) -> __m512i {
        load(group, line * 210 + 128)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn with_high(codes: __m512i, high: &[[__m512i; 16]; 2], b: usize, j: usize) -> __m512i {
        with_bits::<0x30>(codes, high[b / 8][b % 8 / 4 * 8 + j], b % 4 * 2)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        arrange_quads::<Self>(group)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn scales(group: &[u8]) -> [__m512; 2] {
        each_half(pairs(group, 210, 192), factors(group, 210, 208, 1.0))
    }
}

impl Quads for Q6K {
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
}

impl Stored<2> for Q2K {
    const LINES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn line(group: &[u8], line: usize) -> __m512i {
        load(group, line * 84 + 16)
    }

    fn place(line: usize, lane: usize, part: usize) -> (usize, usize) {
        (8 * line + lane / 2 * 4 + part, lane % 2)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        arrange_quads::<Self>(group)
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

impl Quads for Q2K {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        two_bits(group, quad / 2 * 84 + 16 + quad % 2 * 32)
    }
}

impl Stored<2> for Q3K {
    const LINES: usize = 2;
    const HIGH_LINES: usize = 1;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn line(group: &[u8], line: usize) -> __m512i {
        load(group, line * 110 + 32)
    }

    fn place(line: usize, lane: usize, part: usize) -> (usize, usize) {
        Q2K::place(line, lane, part)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn high_line(group: &[u8], _: usize) -> __m512i {
        load_two(group, 0, 110)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn with_high(codes: __m512i, high: &[[__m512i; 16]; 2], b: usize, j: usize) -> __m512i {
        with_bits::<4>(codes, high[0][b / 8 * 8 + j], b % 8)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        arrange_quads::<Self>(group)
    }
}

impl Quads for Q3K {
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
    const LINES: usize = 4;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn line(group: &[u8], line: usize) -> __m512i {
        load(group, line / 2 * 136 + 8 + line % 2 * 64)
    }

    fn place(line: usize, lane: usize, part: usize) -> (usize, usize) {
        (4 * line + lane, part)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn codes(bits: __m512i) -> __m512i {
        look_up(bits, &IQ4)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        arrange_nibbles::<Self, 1>(group)
    }
}

/// Codes with the bits `BITS` from bytes where the lowest of them is bit `from`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn with_bits<const BITS: i8>(codes: __m512i, bytes: __m512i, from: usize) -> __m512i {
    let down = (from + 64 - BITS.trailing_zeros() as usize) % 64;
    let bits = _mm512_rorv_epi64(bytes, _mm512_set1_epi64(down as i64));
    _mm512_or_si512(codes, _mm512_and_si512(bits, _mm512_set1_epi8(BITS)))
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
