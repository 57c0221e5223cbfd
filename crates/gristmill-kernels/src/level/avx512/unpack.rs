//! From stored blocks to registers of codes and scales: the interface, and every [`Layout`].
//!
//! Four blocks (a quad, 72 to 136 bytes) are covered by two overlapping 64-byte loads; one two-register byte permute
//! gathers the codes of all four, another word permute the scales. The index tables follow from the layout when the
//! kernel is compiled and stay in registers. Loads never reach outside the row: at its end they are masked.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::arrange::{arrange_group, dwords};
use super::fifth::add_fifth_bits;
use crate::matmul::blocks::{Blocks, Plain};
use crate::matmul::layout::{Layout, Scale};

/// How sixteen stored blocks of 32 weights become registers. Each block has `H` scales, for 32 or sixteen weights.
///
/// Unless `FULL`, the bytes of a group may hold fewer than sixteen blocks, or fewer than four where a quad is asked for;
/// then the scales of the others are zero and their codes anything. Super-blocks are always all there. Scales that a type
/// does not read itself go through its plain meaning, [`Blocks`].
///
/// # Safety
/// Of all methods: the CPU has the instructions of this level.
pub(crate) trait Stored<const H: usize>: Blocks<H> {
    /// Bytes of four blocks.
    const QUAD_BYTES: usize = Self::EIGHT_BYTES / 2;
    /// Whether codes are nibbles of [`bytes`](Self::bytes) and no more.
    const NIBBLES: bool = false;
    /// Whether so many loads take a group apart that its lines are not met in the order of their addresses.
    const JUMPS: bool = false;

    /// The codes of quad `quad`: the first sixteen of each block, and the last sixteen of each.
    unsafe fn quad<const FULL: bool>(group: &[u8], quad: usize) -> [__m512i; 2];

    /// Of nibbles: the bytes they are in, sixteen in each 128-bit lane.
    ///
    /// # Panics
    /// If codes are not nibbles.
    unsafe fn bytes<const FULL: bool>(_group: &[u8], _quad: usize) -> __m512i {
        unreachable!("asked of types with nibbles only")
    }

    /// Of nibbles: the block and the half of it that the low or high nibbles of a lane are.
    fn place(lane: usize, nibble: usize) -> (usize, usize) {
        (lane, nibble)
    }

    /// Of nibbles: the codes they stand for.
    unsafe fn codes(nibbles: __m512i) -> __m512i {
        nibbles
    }

    /// Of nibbles: the codes of the first and of the last halves of blocks, given some of the bytes of four quads, those
    /// of lane `i` of a quad in lane `i`. By default the low nibbles are the first half of a block, and the high ones
    /// the last.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn split(bytes: __m512i) -> [__m512i; 2] {
        let [low, high] = nibbles(bytes);
        // SAFETY: this function has the instructions.
        let low = unsafe { Self::codes(low) };
        // SAFETY: as above.
        let high = unsafe { Self::codes(high) };
        [low, high]
    }

    /// The codes of all sixteen blocks, arranged as those of the activations.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        arrange_group::<Self, H>(group)
    }

    /// The scales of the blocks: of all their weights, or of their first and their last sixteen.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn scales<const FULL: bool>(group: &[u8]) -> [__m512; H] {
        by_block::<Self, H>(group, Self::scale)
    }

    /// The minima, if there are any.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn minima<const FULL: bool>(group: &[u8]) -> [__m512; H] {
        by_block::<Self, H>(group, Self::minimum)
    }
}

/// The first or second eight blocks of a group, or those of them that are there; `None` if none is.
fn eight<S: Blocks<H> + ?Sized, const H: usize>(group: &[u8], half: usize) -> Option<&[u8]> {
    let eight = group.get(half * S::EIGHT_BYTES..)?;
    (!eight.is_empty()).then(|| &eight[..eight.len().min(S::EIGHT_BYTES)])
}

/// A number for each of sixteen blocks or half blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn by_block<S: Blocks<H> + ?Sized, const H: usize>(
    group: &[u8],
    number: impl Fn(&[u8], usize, usize) -> f32,
) -> [__m512; H] {
    let mut registers = [_mm512_setzero_ps(); H];
    for h in 0..H {
        let mut numbers = [0.0; 16];
        for half in 0..2 {
            if let Some(eight) = eight::<S, H>(group, half) {
                for b in 0..8 {
                    numbers[8 * half + b] = number(eight, b, h);
                }
            }
        }
        // SAFETY: sixteen floats are there.
        registers[h] = unsafe { _mm512_loadu_ps(numbers.as_ptr()) };
    }
    registers
}

/// 64 bytes in one cache line.
#[repr(align(64))]
struct Line([u8; 64]);

/// 32 words in one cache line.
#[repr(align(64))]
struct Words([u16; 32]);

/// Bytes of a group.
const fn group_bytes<L: Layout>() -> usize {
    16 * L::BYTES
}

/// Where line `line` of a group starts; the last one reaches back, so that it ends with the group.
pub(super) const fn line_start<L: Layout>(line: usize) -> usize {
    let last = group_bytes::<L>() - 64;
    if 64 * line < last { 64 * line } else { last }
}

/// Where two 64-byte loads start that cover the codes of a quad, of 8-bit codes half `half`: two neighbouring lines of
/// the group if that will do, since those serve several quads.
const fn windows<L: Layout>(quad: usize, half: usize) -> (usize, usize) {
    let half = if L::BITS == 8 { 16 * half } else { 0 };
    let first = if let Some(high) = L::HIGH { high } else { L::CODES };
    let (start, end) = (
        quad * 4 * L::BYTES + first + half,
        quad * 4 * L::BYTES + 3 * L::BYTES + L::CODES + half + 16,
    );
    let (a, b) = (line_start::<L>(start / 64), line_start::<L>(start / 64 + 1));
    if end <= b + 64 { (a, b) } else { (start, end - 64) }
}

/// The same for every quad.
const fn all_windows<L: Layout>(half: usize) -> [(usize, usize); 4] {
    [windows::<L>(0, half), windows::<L>(1, half), windows::<L>(2, half), windows::<L>(3, half)]
}

/// The index of the byte at `offset` of the group among the 128 bytes of two windows.
pub(super) const fn index(offset: usize, windows: (usize, usize)) -> usize {
    if offset - windows.0 < 64 { offset - windows.0 } else { 64 + offset - windows.1 }
}

/// Code bytes, for each quad: the sixteen of each block that hold half `half`.
const fn code_tables<L: Layout>(half: usize) -> [Line; 4] {
    let mut tables = [const { Line([0; 64]) }; 4];
    let mut i = 0;
    while i < 256 {
        let (quad, half_start) = (i / 64, if L::BITS == 8 { 16 * half } else { 0 });
        let offset = i / 16 * L::BYTES + L::CODES + half_start + i % 16;
        tables[quad].0[i % 64] = index(offset, windows::<L>(quad, half)) as u8;
        i += 1;
    }
    tables
}

/// For each code of each quad, the byte that holds its fifth bit.
const fn high_tables<L: Layout>(half: usize) -> [Line; 4] {
    let mut tables = [const { Line([0; 64]) }; 4];
    if let Some(high) = L::HIGH {
        let mut i = 0;
        while i < 256 {
            let offset = i / 16 * L::BYTES + high + 2 * half + i % 16 / 8;
            tables[i / 64].0[i % 64] = index(offset, windows::<L>(i / 64, 0)) as u8;
            i += 1;
        }
    }
    tables
}

/// Pairs of lines in a group.
pub(super) const fn n_pairs<L: Layout>() -> usize {
    group_bytes::<L>().div_ceil(128)
}

/// The words at `offset` of each block that are in pair `pair` of lines, and which ones are.
const fn word_table<L: Layout>(pair: usize, offset: usize) -> (Words, __mmask16) {
    let (mut table, mut present) = ([0; 32], 0);
    let lines = (line_start::<L>(2 * pair), line_start::<L>(2 * pair + 1));
    let mut i = 0;
    while i < 16 {
        let at = i * L::BYTES + offset;
        if at / 128 == pair {
            table[i] = (index(at, lines) / 2) as u16;
            present |= 1 << i;
        }
        i += 1;
    }
    (Words(table), present)
}

const fn word_tables<L: Layout>(offset: usize) -> [(Words, __mmask16); 5] {
    [
        word_table::<L>(0, offset),
        word_table::<L>(1, offset),
        word_table::<L>(2, offset),
        word_table::<L>(3, offset),
        word_table::<L>(4, offset),
    ]
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

impl<L: Layout> Stored<1> for Plain<L> {
    const NIBBLES: bool = L::BITS == 4 && L::HIGH.is_none();
    const JUMPS: bool = L::BITS == 8;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad<const FULL: bool>(group: &[u8], quad: usize) -> [__m512i; 2] {
        let first = gather::<L, FULL>(group, quad, 0);
        if L::BITS == 8 {
            let top = _mm512_set1_epi8(i8::MIN);
            let last = gather::<L, FULL>(group, quad, 1);
            return [_mm512_xor_si512(first, top), _mm512_xor_si512(last, top)];
        }
        let [low, high] = nibbles(first);
        if L::HIGH.is_none() {
            return [plain_codes::<L>(low), plain_codes::<L>(high)];
        }
        [with_fifth::<L, FULL>(low, group, quad, 0), with_fifth::<L, FULL>(high, group, quad, 1)]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn bytes<const FULL: bool>(group: &[u8], quad: usize) -> __m512i {
        gather::<L, FULL>(group, quad, 0)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn codes(nibbles: __m512i) -> __m512i {
        plain_codes::<L>(nibbles)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        if L::HIGH.is_none() {
            return arrange_group::<Self, 1>(group);
        }
        let low = dwords([
            gather::<L, true>(group, 0, 0),
            gather::<L, true>(group, 1, 0),
            gather::<L, true>(group, 2, 0),
            gather::<L, true>(group, 3, 0),
        ]);
        let mut codes = [_mm512_setzero_si512(); 8];
        for j in 0..4 {
            [codes[j], codes[4 + j]] = nibbles(low[j]);
        }
        add_fifth_bits::<L>(group, &mut codes);
        codes
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn scales<const FULL: bool>(group: &[u8]) -> [__m512; 1] {
        if L::SCALE == Scale::F16 {
            [sixteen::<L, FULL>(group, &const { word_tables::<L>(0) })]
        } else {
            by_block::<Self, 1>(group, Self::scale)
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn minima<const FULL: bool>(group: &[u8]) -> [__m512; 1] {
        let tables = &const { word_tables::<L>(if let Some(min) = L::MIN { min } else { 0 }) };
        [sixteen::<L, FULL>(group, tables)]
    }
}

/// The codes that nibbles stand for: themselves, or entries of the table plus 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn plain_codes<L: Layout>(nibbles: __m512i) -> __m512i {
    match L::TABLE {
        Some(entries) => look_up(nibbles, entries),
        None => nibbles,
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

/// The code bytes of four blocks; of 8-bit codes those of half `half`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn gather<L: Layout, const FULL: bool>(group: &[u8], quad: usize, half: usize) -> __m512i {
    let (windows, orders) = if half == 0 {
        (const { all_windows::<L>(0) }, &const { code_tables::<L>(0) })
    } else {
        (const { all_windows::<L>(1) }, &const { code_tables::<L>(1) })
    };
    let (a, b) = windows[quad];
    let (a, b) = (load::<FULL>(group, a), load::<FULL>(group, b));
    _mm512_permutex2var_epi8(a, table(&orders[quad]), b)
}

/// The codes of half `half` of four blocks, with their fifth bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn with_fifth<L: Layout, const FULL: bool>(
    codes: __m512i,
    group: &[u8],
    quad: usize,
    half: usize,
) -> __m512i {
    let (a, b) = const { all_windows::<L>(0) }[quad];
    let (a, b) = (load::<FULL>(group, a), load::<FULL>(group, b));
    let orders =
        if half == 0 { &const { high_tables::<L>(0) } } else { &const { high_tables::<L>(1) } };
    let bits = _mm512_permutex2var_epi8(a, table(&orders[quad]), b);
    let set = _mm512_test_epi8_mask(bits, _mm512_set1_epi64(0x8040_2010_0804_0201u64 as i64));
    _mm512_mask_add_epi8(codes, set, codes, _mm512_set1_epi8(0x10))
}

/// The f16 numbers at a place of sixteen blocks, in order; zero for blocks that are not there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn sixteen<L: Layout, const FULL: bool>(group: &[u8], tables: &[(Words, __mmask16); 5]) -> __m512 {
    let mut halves = _mm512_setzero_si512();
    for pair in 0..n_pairs::<L>() {
        let (words, present) = &tables[pair];
        // SAFETY: 64 bytes are there.
        let words = unsafe { _mm512_load_si512(words.0.as_ptr().cast()) };
        let (a, b) = (line_start::<L>(2 * pair), line_start::<L>(2 * pair + 1));
        if FULL || a < group.len() {
            let (a, b) = (load::<FULL>(group, a), load::<FULL>(group, b));
            let some = _mm512_maskz_permutex2var_epi16((*present).into(), a, words, b);
            halves = _mm512_or_si512(halves, some);
        }
    }
    _mm512_cvtph_ps(_mm512_castsi512_si256(halves))
}
