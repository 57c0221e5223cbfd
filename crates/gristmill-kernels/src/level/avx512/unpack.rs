//! From stored blocks to registers of codes and scales: the interface, and every [`Layout`].
//!
//! The nibbles of four blocks (a quad, 68 to 96 bytes) are covered by two 64-byte loads; one two-register byte permute
//! gathers them. Scales and minima are words that [`Words`] brings to their lanes.
//! The index tables follow from the layout when the kernel is compiled.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::arrange::nibble_parts;
use super::gemv::{floats, lanes_of_blocks};
use super::words::Words;
use super::{bytes, fifth};
use crate::matmul::activations::Arrangement;
use crate::matmul::blocks::{Blocks, Plain};
use crate::matmul::layout::{Layout, Scale};

/// Which codes are in which of two [parts](Stored::parts).
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// The first halves of blocks, and the last.
    Halves,
    /// Even blocks, and odd ones.
    EvenAndOdd,
    /// Of every four blocks the first two, and the last two.
    Twos,
}

/// How sixteen stored blocks of 32 weights become registers. Each block has `H` scales, for 32 or sixteen weights.
///
/// Scales that a type does not read itself go through its plain meaning, [`Blocks`].
///
/// # Safety
/// Of all methods: the CPU has the instructions of this level.
pub(crate) trait Stored<const H: usize>: Blocks<H> {
    /// Bytes of four blocks.
    const QUAD_BYTES: usize = Self::EIGHT_BYTES / 2;
    /// Lines of 64 bytes in which a group has the codes of its 512 weights: as many as there are bits of each code.
    const LINES: usize;
    /// Lines in which a group has further bits of the codes.
    const HIGH_LINES: usize = 0;
    /// What parts have.
    const ORDER: Order = Order::Halves;
    /// Whether codes are the nibbles of lines, as they are.
    const NIBBLES: bool = false;

    /// A line: four times sixteen bytes, each of which are the same places of as many halves of blocks as a byte has
    /// codes.
    unsafe fn line(group: &[u8], line: usize) -> __m512i;

    /// The block whose codes a 128-bit lane of a line has in part `part` of its bytes, and the half of it: 0 or 1. Part
    /// 0 are the lowest bits, and the first block of a line is that of its first lane there.
    fn place(line: usize, lane: usize, part: usize) -> (usize, usize);

    /// The codes that the bits in lines stand for.
    unsafe fn codes(bits: __m512i) -> __m512i {
        bits
    }

    /// A line of further bits.
    ///
    /// # Panics
    /// If there are none.
    unsafe fn high_line(_group: &[u8], _line: usize) -> __m512i {
        unreachable!("asked of types with high lines only")
    }

    /// Of sixteen rows, codes `4 j .. 4 j + 4` of block `b` with their further bits; `high` are the lines of these, by
    /// dwords.
    unsafe fn with_high(
        codes: __m512i,
        _high: &[[__m512i; 16]; 2],
        _b: usize,
        _j: usize,
    ) -> __m512i {
        codes
    }

    /// The codes of all sixteen blocks in two parts: where each part has four lines, dword `j` of every sixteen bytes of
    /// them, as [`dwords`](super::arrange::dwords) gives it. By default, the low and the high nibbles.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn parts(group: &[u8]) -> [[__m512i; 4]; 2] {
        nibble_parts::<Self, H>(group)
    }

    /// The scales and minima of the blocks, in the order of the lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<H> {
        by_block::<Self, H>(group)
    }
}

/// What sixteen blocks, or their halves, have one of; in the order of the lanes.
#[derive(Clone, Copy)]
pub(super) struct Numbers<const H: usize> {
    pub(super) scales: [__m512; H],
    /// Anything if the type has none.
    pub(super) minima: [__m512; H],
}

/// The numbers of sixteen blocks or their halves, one by one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn by_block<S: Blocks<H> + ?Sized, const H: usize>(group: &[u8]) -> Numbers<H> {
    let zeros = [_mm512_setzero_ps(); H];
    let mut numbers = Numbers { scales: zeros, minima: zeros };
    for h in 0..H {
        let (mut scales, mut minima) = ([0.0; 16], [0.0; 16]);
        for half in 0..2 {
            let eight = &group[half * S::EIGHT_BYTES..][..S::EIGHT_BYTES];
            for b in 0..8 {
                scales[8 * half + b] = S::scale(eight, b, h);
                if S::HAS_MIN {
                    minima[8 * half + b] = S::minimum(eight, b, h);
                }
            }
        }
        numbers.scales[h] = lanes_of_blocks(floats(&scales));
        numbers.minima[h] = lanes_of_blocks(floats(&minima));
    }
    numbers
}

/// 64 bytes in one cache line.
#[repr(align(64))]
struct Line([u8; 64]);

/// Bytes of a group.
const fn group_bytes<L: Layout>() -> usize {
    16 * L::BYTES
}

/// Where line `line` of a group starts; the last one reaches back, so that it ends with the group.
pub(super) const fn line_start<L: Layout>(line: usize) -> usize {
    let last = group_bytes::<L>() - 64;
    if 64 * line < last { 64 * line } else { last }
}

/// Where two 64-byte loads start that cover the nibbles of a quad: two neighbouring lines of the group if that will do,
/// since those serve several quads.
const fn windows<L: Layout>(quad: usize) -> (usize, usize) {
    let start = quad * 4 * L::BYTES + L::CODES;
    let end = start + 3 * L::BYTES + 16;
    let (a, b) = (line_start::<L>(start / 64), line_start::<L>(start / 64 + 1));
    if end <= b + 64 { (a, b) } else { (start, end - 64) }
}

/// The same for every quad.
const fn all_windows<L: Layout>() -> [(usize, usize); 4] {
    [windows::<L>(0), windows::<L>(1), windows::<L>(2), windows::<L>(3)]
}

/// For each quad, the sixteen bytes of each block's nibbles among the 128 of two windows.
const fn nibble_tables<L: Layout>() -> [Line; 4] {
    let mut tables = [const { Line([0; 64]) }; 4];
    let mut i = 0;
    while i < 256 {
        let (offset, (a, b)) = (i / 16 * L::BYTES + L::CODES + i % 16, windows::<L>(i / 64));
        let index = if offset - a < 64 { offset - a } else { 64 + offset - b };
        tables[i / 64].0[i % 64] = index as u8;
        i += 1;
    }
    tables
}

/// Lines in a group.
pub(super) const fn n_lines<L: Layout>() -> usize {
    group_bytes::<L>().div_ceil(64)
}

/// The scales of a group, then its minima, in the order of the lanes.
const fn number_words<L: Layout>() -> Words {
    let mut offsets = [None; 32];
    let mut b = 0;
    while b < 16 {
        let lane = Arrangement::Dwords.lane(b);
        offsets[lane] = Some(b * L::BYTES);
        if let Some(min) = L::MIN {
            offsets[16 + lane] = Some(b * L::BYTES + min);
        }
        b += 1;
    }
    Words::at::<L>(offsets)
}

/// The 64 bytes at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn load(bytes: &[u8], at: usize) -> __m512i {
    let bytes: &[u8; 64] = bytes[at..].first_chunk().expect("a load is inside the group");
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// The 32 bytes at `a`, then those at `b`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn load_two(bytes: &[u8], a: usize, b: usize) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(half_line(bytes, a)), half_line(bytes, b))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn half_line(bytes: &[u8], at: usize) -> __m256i {
    let bytes: &[u8; 32] = bytes[at..].first_chunk().expect("a load is inside the group");
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

impl<L: Layout> Stored<1> for Plain<L> {
    const LINES: usize = L::BITS as usize;
    const HIGH_LINES: usize = L::HIGH.is_some() as usize;
    const ORDER: Order = if L::BITS == 8 { Order::EvenAndOdd } else { Order::Halves };
    const NIBBLES: bool = L::BITS == 4 && L::HIGH.is_none() && L::TABLE.is_none();

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn line(group: &[u8], line: usize) -> __m512i {
        if L::BITS == 8 { bytes::line::<L>(group, line) } else { gather::<L>(group, line) }
    }

    fn place(line: usize, lane: usize, part: usize) -> (usize, usize) {
        if L::BITS == 8 { bytes::place(line, lane) } else { (4 * line + lane, part) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn codes(bits: __m512i) -> __m512i {
        match L::TABLE {
            Some(entries) => look_up(bits, entries),
            None => bits,
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn high_line(group: &[u8], _: usize) -> __m512i {
        fifth::bits::<L>(group)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn with_high(codes: __m512i, high: &[[__m512i; 16]; 2], b: usize, j: usize) -> __m512i {
        if L::HIGH.is_none() {
            return codes;
        }
        fifth::added(codes, high[0][Arrangement::Dwords.lane(b)], j)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn parts(group: &[u8]) -> [[__m512i; 4]; 2] {
        if L::BITS == 8 {
            return bytes::parts::<L>(group);
        }
        let mut parts = nibble_parts::<Self, 1>(group);
        if L::HIGH.is_some() {
            let bits = fifth::bits::<L>(group);
            for (j, codes) in parts.as_flattened_mut().iter_mut().enumerate() {
                *codes = fifth::added(*codes, bits, j);
            }
        }
        parts
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        if L::SCALE == Scale::F16 { numbers::<L>(group) } else { by_block::<Self, 1>(group) }
    }
}

/// Entries of a table, plus 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn look_up(nibbles: __m512i, entries: &[i8; 16]) -> __m512i {
    // SAFETY: sixteen bytes are there.
    let entries = unsafe { _mm_loadu_si128(entries.as_ptr().cast()) };
    let codes = _mm_xor_si128(entries, _mm_set1_epi8(i8::MIN));
    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(codes), nibbles)
}

/// The low and the high nibble of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn nibbles(bytes: __m512i) -> [__m512i; 2] {
    let mask = _mm512_set1_epi8(0x0f);
    [_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask)]
}

/// The nibbles of four blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn gather<L: Layout>(group: &[u8], quad: usize) -> __m512i {
    let (a, b) = const { all_windows::<L>() }[quad];
    // As they are; the compiler does not know, and would check each.
    let last = const { group_bytes::<L>() - 64 };
    let (a, b) = (load(group, a.min(last)), load(group, b.min(last)));
    let order = load(&const { &nibble_tables::<L>() }[quad].0, 0);
    _mm512_permutex2var_epi8(a, order, b)
}

/// The f16 numbers of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn numbers<L: Layout>(group: &[u8]) -> Numbers<1> {
    let halves = const { &number_words::<L>() }.of::<L>(group);
    Numbers {
        scales: [_mm512_cvtph_ps(_mm512_castsi512_si256(halves))],
        minima: [_mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves))],
    }
}
