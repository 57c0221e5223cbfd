//! From stored blocks to registers of codes and scales: the interface, and every [`Layout`].
//!
//! Four blocks (a quad, 72 to 136 bytes) are covered by two overlapping 64-byte loads; one two-register byte permute
//! gathers the codes of all four. Scales and minima are words that [`Words`] brings to their lanes.
//! The index tables follow from the layout when the kernel is compiled.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::arrange::{arrange_group, dwords};
use super::bytes;
use super::fifth::add_fifth_bits;
use super::gemv::{floats, lanes_of_blocks};
use super::words::Words;
use crate::matmul::activations::Arrangement;
use crate::matmul::blocks::{Blocks, Plain};
use crate::matmul::layout::{Layout, Scale};

/// How stored codes meet the activations of one token.
#[derive(Clone, Copy)]
pub(super) enum Direct {
    /// They are nibbles: the low ones of sixteen bytes are the first half of a block, the high ones the last.
    Halves,
    /// They are nibbles: the same half of an even block and of the next one. A quad has the first halves of two
    /// blocks, the last halves of both, then the same of the other two.
    Pairs,
    /// They are bytes, and two even blocks, or two odd ones, are a register.
    Bytes,
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
    /// Whether codes are nibbles of [`bytes`](Self::bytes) and no more.
    const NIBBLES: bool = false;
    /// How codes meet the activations of one token, unless they have to be unpacked.
    const DIRECT: Option<Direct> = None;

    /// The codes of quad `quad`: the first sixteen of each block, and the last sixteen of each.
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2];

    /// Of nibbles: the bytes they are in, sixteen in each 128-bit lane.
    ///
    /// # Panics
    /// If codes are not nibbles.
    unsafe fn bytes(_group: &[u8], _quad: usize) -> __m512i {
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

    /// Of [`Direct::Bytes`]: the codes of the even or odd blocks, arranged as `paired` of the activations.
    ///
    /// # Panics
    /// If codes are anything else.
    unsafe fn paired(_group: &[u8], _odd: usize) -> [__m512i; 4] {
        unreachable!("asked of types with bytes only")
    }

    /// The codes of all sixteen blocks, arranged as those of the activations.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        arrange_group::<Self, H>(group)
    }

    /// The scales and minima of the blocks, in the order of the lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn numbers(group: &[u8]) -> Numbers<H> {
        // SAFETY: this function has the instructions.
        let mut scales = unsafe { Self::scales(group) };
        let mut minima = scales;
        if Self::HAS_MIN {
            // SAFETY: as above.
            minima = unsafe { Self::minima(group) };
        }
        for h in 0..H {
            scales[h] = lanes_of_blocks(scales[h]);
            minima[h] = lanes_of_blocks(minima[h]);
        }
        Numbers { scales, minima }
    }

    /// The scales in the order of the blocks: of all their weights, or of their first and their last sixteen.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn scales(group: &[u8]) -> [__m512; H] {
        by_block::<Self, H>(group, Self::scale)
    }

    /// The minima in the order of the blocks, if there are any.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn minima(group: &[u8]) -> [__m512; H] {
        by_block::<Self, H>(group, Self::minimum)
    }
}

/// What sixteen blocks, or their halves, have one of; in the order of the lanes.
#[derive(Clone, Copy)]
pub(super) struct Numbers<const H: usize> {
    pub(super) scales: [__m512; H],
    /// Anything if the type has none.
    pub(super) minima: [__m512; H],
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
            let eight = &group[half * S::EIGHT_BYTES..][..S::EIGHT_BYTES];
            for b in 0..8 {
                numbers[8 * half + b] = number(eight, b, h);
            }
        }
        registers[h] = floats(&numbers);
    }
    registers
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
const fn index(offset: usize, windows: (usize, usize)) -> usize {
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

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn table(line: &Line) -> __m512i {
    load(&line.0, 0)
}

impl<L: Layout> Stored<1> for Plain<L> {
    const NIBBLES: bool = L::BITS == 4 && L::HIGH.is_none();
    const DIRECT: Option<Direct> = match (L::BITS, L::HIGH, L::TABLE) {
        (4, None, None) => Some(Direct::Halves),
        (8, ..) => Some(Direct::Bytes),
        _ => None,
    };

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn quad(group: &[u8], quad: usize) -> [__m512i; 2] {
        let first = gather::<L>(group, quad, 0);
        if L::BITS == 8 {
            let top = _mm512_set1_epi8(i8::MIN);
            let last = gather::<L>(group, quad, 1);
            return [_mm512_xor_si512(first, top), _mm512_xor_si512(last, top)];
        }
        let [low, high] = nibbles(first);
        if L::HIGH.is_none() {
            return [plain_codes::<L>(low), plain_codes::<L>(high)];
        }
        [with_fifth::<L>(low, group, quad, 0), with_fifth::<L>(high, group, quad, 1)]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn bytes(group: &[u8], quad: usize) -> __m512i {
        gather::<L>(group, quad, 0)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn codes(nibbles: __m512i) -> __m512i {
        plain_codes::<L>(nibbles)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn paired(group: &[u8], odd: usize) -> [__m512i; 4] {
        bytes::paired::<L>(group, odd)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn arranged(group: &[u8]) -> [__m512i; 8] {
        if L::BITS == 8 {
            return bytes::arranged::<L>(group);
        }
        if L::HIGH.is_none() {
            return arrange_group::<Self, 1>(group);
        }
        let low = dwords([
            gather::<L>(group, 0, 0),
            gather::<L>(group, 1, 0),
            gather::<L>(group, 2, 0),
            gather::<L>(group, 3, 0),
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
    unsafe fn numbers(group: &[u8]) -> Numbers<1> {
        if L::SCALE == Scale::F16 {
            numbers::<L>(group)
        } else {
            let scales = by_block::<Self, 1>(group, Self::scale);
            Numbers { scales: [lanes_of_blocks(scales[0])], minima: [_mm512_setzero_ps()] }
        }
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
fn gather<L: Layout>(group: &[u8], quad: usize, half: usize) -> __m512i {
    let (windows, orders) = if half == 0 {
        (const { all_windows::<L>(0) }, &const { code_tables::<L>(0) })
    } else {
        (const { all_windows::<L>(1) }, &const { code_tables::<L>(1) })
    };
    let (a, b) = windows[quad];
    let (a, b) = (load(group, a), load(group, b));
    _mm512_permutex2var_epi8(a, table(&orders[quad]), b)
}

/// The codes of half `half` of four blocks, with their fifth bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn with_fifth<L: Layout>(codes: __m512i, group: &[u8], quad: usize, half: usize) -> __m512i {
    let (a, b) = const { all_windows::<L>(0) }[quad];
    let (a, b) = (load(group, a), load(group, b));
    let orders =
        if half == 0 { &const { high_tables::<L>(0) } } else { &const { high_tables::<L>(1) } };
    let bits = _mm512_permutex2var_epi8(a, table(&orders[quad]), b);
    let set = _mm512_test_epi8_mask(bits, _mm512_set1_epi64(0x8040_2010_0804_0201u64 as i64));
    _mm512_mask_add_epi8(codes, set, codes, _mm512_set1_epi8(0x10))
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
