//! From stored blocks to registers of codes and scales, for every [`Layout`].
//!
//! Four blocks (a quad, 72 to 136 bytes) are covered by two overlapping 64-byte loads; one two-register byte permute
//! gathers the codes of all four, another word permute the scales. The index tables follow from the layout when the
//! kernel is compiled and stay in registers. Loads never reach outside the row: at its end they are masked.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use crate::matmul::layout::Layout;

/// 64 bytes in one cache line.
#[repr(align(64))]
struct Line([u8; 64]);

/// 32 words in one cache line.
#[repr(align(64))]
struct Words([u16; 32]);

/// The two windows that cover what is wanted of a quad: where each 64-byte load starts.
const fn windows<L: Layout>(half: usize) -> (usize, usize) {
    let slack = if L::BITS == 8 { 16 } else { 0 };
    (slack * half, 4 * L::BYTES - 64 - slack * (1 - half))
}

/// The index of the byte at `offset` of the quad among the 128 bytes of the two windows.
const fn index(offset: usize, windows: (usize, usize)) -> usize {
    if offset - windows.0 < 64 { offset - windows.0 } else { 64 + offset - windows.1 }
}

/// Code bytes: the sixteen of each block that hold half `half`.
const fn code_table<L: Layout>(half: usize) -> Line {
    let mut table = [0; 64];
    let mut i = 0;
    while i < 64 {
        let offset =
            i / 16 * L::BYTES + L::CODES + i % 16 + if L::BITS == 8 { 16 * half } else { 0 };
        table[i] = index(offset, windows::<L>(half)) as u8;
        i += 1;
    }
    Line(table)
}

/// For each code, the byte that holds its fifth bit.
const fn high_table<L: Layout>(half: usize) -> Line {
    let mut table = [0; 64];
    if let Some(high) = L::HIGH {
        let mut i = 0;
        while i < 64 {
            let offset = i / 16 * L::BYTES + high + 2 * half + i % 16 / 8;
            table[i] = index(offset, windows::<L>(0)) as u8;
            i += 1;
        }
    }
    Line(table)
}

/// The words at `offset` of each block, four times over.
const fn scale_table<L: Layout>(offset: usize) -> Words {
    let mut table = [0; 32];
    let mut i = 0;
    while i < 16 {
        table[i] = (index(i % 4 * L::BYTES + offset, windows::<L>(0)) / 2) as u16;
        i += 1;
    }
    Words(table)
}

/// The 64 bytes at `at`; those past the end of `bytes` are zero if not `FULL`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn load<const FULL: bool>(bytes: &[u8], at: usize) -> __m512i {
    if FULL {
        let bytes: &[u8; 64] = bytes[at..].first_chunk().expect("a full load is inside the row");
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    } else {
        let left = bytes.len().saturating_sub(at).min(64) as u32;
        let mask = u64::MAX.checked_shr(64 - left).unwrap_or(0);
        // SAFETY: the mask lets through only bytes that are there.
        unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().wrapping_add(at).cast()) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn table(line: &Line) -> __m512i {
    load::<true>(&line.0, 0)
}

/// The code bytes of four blocks as they are stored; of 8-bit codes those of half `half`, minus their sign.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn stored<L: Layout, const FULL: bool>(
    bytes: &[u8],
    quad: usize,
    half: usize,
) -> __m512i {
    let start = quad * 4 * L::BYTES;
    let half = if L::BITS == 8 { half } else { 0 };
    let (a, b) = windows::<L>(half);
    let (a, b) = (load::<FULL>(bytes, start + a), load::<FULL>(bytes, start + b));
    let order =
        if half == 0 { &const { code_table::<L>(0) } } else { &const { code_table::<L>(1) } };
    _mm512_permutex2var_epi8(a, table(order), b)
}

/// The codes of one half, without fifth bits, from what [`stored`] gives.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn split<L: Layout>(stored: __m512i, half: usize) -> __m512i {
    if L::BITS == 8 {
        return _mm512_xor_si512(stored, _mm512_set1_epi8(i8::MIN));
    }
    let nibbles = if half == 0 { stored } else { _mm512_srli_epi16::<4>(stored) };
    _mm512_and_si512(nibbles, _mm512_set1_epi8(0x0f))
}

/// The codes of four blocks with their fifth bits, if they have any.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn with_high<L: Layout, const FULL: bool>(
    codes: __m512i,
    bytes: &[u8],
    quad: usize,
    half: usize,
) -> __m512i {
    if L::HIGH.is_none() {
        return codes;
    }
    let start = quad * 4 * L::BYTES;
    let (a, b) = windows::<L>(0);
    let (a, b) = (load::<FULL>(bytes, start + a), load::<FULL>(bytes, start + b));
    let order =
        if half == 0 { &const { high_table::<L>(0) } } else { &const { high_table::<L>(1) } };
    let bits = _mm512_permutex2var_epi8(a, table(order), b);
    let set = _mm512_test_epi8_mask(bits, _mm512_set1_epi64(0x8040_2010_0804_0201u64 as i64));
    _mm512_mask_add_epi8(codes, set, codes, _mm512_set1_epi8(0x10))
}

/// The codes of four blocks: the first sixteen of each, and the last sixteen of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn quad<L: Layout, const FULL: bool>(bytes: &[u8], quad: usize) -> [__m512i; 2] {
    let first = stored::<L, FULL>(bytes, quad, 0);
    let last = if L::BITS == 8 { stored::<L, FULL>(bytes, quad, 1) } else { first };
    [
        with_high::<L, FULL>(split::<L>(first, 0), bytes, quad, 0),
        with_high::<L, FULL>(split::<L>(last, 1), bytes, quad, 1),
    ]
}

/// The f16 numbers at `OFFSET` of sixteen blocks, in order; zero for blocks that are not there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn sixteen<L: Layout, const FULL: bool>(bytes: &[u8], words: &Words) -> __m512 {
    // SAFETY: 64 bytes are there.
    let words = unsafe { _mm512_load_si512(words.0.as_ptr().cast()) };
    let (a0, b0) = windows::<L>(0);
    let mut halves = _mm512_setzero_si512();
    for quad in 0..4 {
        let start = quad * 4 * L::BYTES;
        if FULL || start < bytes.len() {
            let (a, b) = (load::<FULL>(bytes, start + a0), load::<FULL>(bytes, start + b0));
            let four = _mm512_maskz_permutex2var_epi16(0xf << (4 * quad), a, words, b);
            halves = _mm512_or_si512(halves, four);
        }
    }
    _mm512_cvtph_ps(_mm512_castsi512_si256(halves))
}

/// The scales of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn scales<L: Layout, const FULL: bool>(bytes: &[u8]) -> __m512 {
    sixteen::<L, FULL>(bytes, &const { scale_table::<L>(L::SCALE) })
}

/// The minima of sixteen blocks, for layouts that have them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn minima<L: Layout, const FULL: bool>(bytes: &[u8]) -> __m512 {
    let offset = const { if let Some(offset) = L::MIN { offset } else { 0 } };
    debug_assert!(offset > 0, "a layout with minima");
    sixteen::<L, FULL>(
        bytes,
        &const { scale_table::<L>(if let Some(offset) = L::MIN { offset } else { 0 }) },
    )
}
