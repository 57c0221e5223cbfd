//! The K types: super-blocks of 256 weights, which are eight blocks of 32 here, two of them a group.
//!
//! `numbers`: their scales and minima.
#![expect(unsafe_code, reason = "vector loads")]

mod numbers;

use std::arch::x86_64::*;

use super::arrange::{Quads, nibble_parts, quad_parts};
use super::unpack::{Numbers, Order, Stored, load, load_two, look_up};
use crate::matmul::blocks::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
use crate::matmul::layout::IQ4;
use numbers::{factors, halves, iq4xs_scales, q3k_scales, scaled, six_bit_numbers};

/// Sixteen bytes, in all four lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn four_times(bytes: &[u8], at: usize) -> __m512i {
    let bytes: &[u8; 16] = bytes[at..].first_chunk().expect("inside the super-block");
    // SAFETY: sixteen bytes are there.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Where the high bits of the nibbles of four lines are, once these are dwords: lane `4 l + q` is of lane `l` of line `q`.
struct HighBits {
    /// The dword they are in, for dword `j` of each sixteen bytes.
    dwords: [[u32; 16]; 4],
    /// How far they are to be rotated down, for the low and the high nibbles.
    down: [[u32; 16]; 2],
}

impl HighBits {
    /// Of bits that become bit 4 and those after it, if line `q` has eight dwords of them from `first[q]`. Those of odd
    /// lines stand `odd_lines` bits higher than others, and those of high nibbles `high_nibbles`.
    const fn new(first: [u32; 4], odd_lines: u32, high_nibbles: u32) -> HighBits {
        let mut high = HighBits { dwords: [[0; 16]; 4], down: [[0; 16]; 2] };
        let mut lane = 0;
        while lane < 16 {
            let (l, q) = (lane / 4, lane % 4);
            let mut i = 0;
            while i < 4 {
                high.dwords[i][lane] = first[q] + (l % 2 * 4 + i) as u32;
                let bit = l as u32 / 2 * 2 + q as u32 % 2 * odd_lines + i as u32 % 2 * high_nibbles;
                high.down[i % 2][lane] = (bit + 32 - 4) % 32;
                i += 1;
            }
            lane += 1;
        }
        high
    }
}

/// Block `b` of a super-block has bit `b`.
const Q5K_HIGH: HighBits = HighBits::new([0, 0, 8, 8], 4, 1);
/// Block `b` of each four has bits `2 b` and `2 b + 1`.
const Q6K_HIGH: HighBits = HighBits::new([0, 8, 16, 24], 0, 4);

/// The codes of nibbles with the bits `BITS` that are elsewhere, as [parts](Stored::parts).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn parts<S: Stored<H>, const H: usize, const BITS: i8>(
    group: &[u8],
    places: &HighBits,
    high: [__m512i; 2],
) -> [[__m512i; 4]; 2] {
    let mut parts = nibble_parts::<S, H>(group);
    for j in 0..4 {
        let high = _mm512_permutex2var_epi32(high[0], table(&places.dwords[j]), high[1]);
        for part in 0..2 {
            let high = _mm512_rorv_epi32(high, table(&places.down[part]));
            parts[part][j] = with_bits::<BITS>(parts[part][j], high);
        }
    }
    parts
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn table(dwords: &[u32; 16]) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(dwords.as_ptr().cast()) }
}

impl Stored<1> for Q4K {
    const LINES: usize = 4;
    const ORDER: Order = Order::EvenAndOdd;
    const NIBBLES: bool = true;

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
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        six_bit_numbers(group, 144)
    }
}

impl Stored<1> for Q5K {
    const LINES: usize = 4;
    const HIGH_LINES: usize = 1;
    const ORDER: Order = Order::EvenAndOdd;

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
        with_bits::<0x10>(codes, moved(high[0][b / 8 * 8 + j], b % 8, 4))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn parts(group: &[u8]) -> [[__m512i; 4]; 2] {
        let fifth = [load_two(group, 16, 176 + 16), _mm512_setzero_si512()];
        parts::<Self, 1, 0x10>(group, &Q5K_HIGH, fifth)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        six_bit_numbers(group, 176)
    }
}

impl Stored<2> for Q6K {
    const LINES: usize = 4;
    const HIGH_LINES: usize = 2;
    const ORDER: Order = Order::Twos;

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
        with_bits::<0x30>(codes, moved(high[b / 8][b % 8 / 4 * 8 + j], b % 4 * 2, 4))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn parts(group: &[u8]) -> [[__m512i; 4]; 2] {
        let high = [load(group, 128), load(group, 210 + 128)];
        parts::<Self, 2, 0x30>(group, &Q6K_HIGH, high)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<2> {
        let scales = scaled(halves(group, 210, 192), factors(group, 210, 208, 1.0));
        Numbers { scales, minima: scales }
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
    unsafe fn parts(group: &[u8]) -> [[__m512i; 4]; 2] {
        quad_parts::<Self>(group)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<2> {
        let (mask, integers) = (_mm256_set1_epi8(0x0f), halves(group, 84, 0));
        let minima = _mm256_and_si256(_mm256_srli_epi16::<4>(integers), mask);
        Numbers {
            scales: scaled(_mm256_and_si256(integers, mask), factors(group, 84, 80, 1.0)),
            minima: scaled(minima, factors(group, 84, 82, -1.0)),
        }
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
        with_bits::<4>(codes, moved(high[0][b / 8 * 8 + j], b % 8, 2))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn parts(group: &[u8]) -> [[__m512i; 4]; 2] {
        quad_parts::<Self>(group)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<2> {
        let scales = q3k_scales(group);
        Numbers { scales, minima: scales }
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
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        let scales = [iq4xs_scales(group)];
        Numbers { scales, minima: scales }
    }
}

/// Codes with the bits `BITS` of other bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn with_bits<const BITS: i8>(codes: __m512i, bytes: __m512i) -> __m512i {
    _mm512_or_si512(codes, _mm512_and_si512(bytes, _mm512_set1_epi8(BITS)))
}

/// Bytes whose bit `from` becomes bit `to`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn moved(bytes: __m512i, from: usize, to: usize) -> __m512i {
    _mm512_rorv_epi64(bytes, _mm512_set1_epi64(((from + 64 - to) % 64) as i64))
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
