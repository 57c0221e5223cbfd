//! The fifth bits of Q5_0 and Q5_1, once the other four are arranged: a dword of each block has them in the order of
//! its weights, and `vpmultishiftqb` brings any eight bits of a qword into each of its bytes.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::unpack::{index, line_start, load, n_pairs};
use crate::matmul::activations::Arrangement;
use crate::matmul::layout::Layout;

/// Where two words of every lane are in a pair of lines, and which of them are.
#[repr(align(64))]
struct Dwords([u16; 32], __mmask32);

/// The dwords at `offset` of sixteen blocks that are in pair `pair` of lines, in the order of the lanes.
const fn dword_table<L: Layout>(pair: usize, offset: usize) -> Dwords {
    let (mut table, mut present) = ([0; 32], 0);
    let lines = (line_start::<L>(2 * pair), line_start::<L>(2 * pair + 1));
    let mut i = 0;
    while i < 32 {
        let (b, word) = (i / 2, i % 2);
        let (at, to) = (b * L::BYTES + offset + 2 * word, 2 * Arrangement::Dwords.lane(b) + word);
        if at / 128 == pair {
            table[to] = (index(at, lines) / 2) as u16;
            present |= 1 << to;
        }
        i += 1;
    }
    Dwords(table, present)
}

/// Of each byte of register `j`, where the eight bits of its qword start whose fifth is the fifth bit of its weight.
const SHIFTS: [[u8; 64]; 8] = {
    let mut shifts = [[0; 64]; 8];
    let mut i = 0;
    while i < 512 {
        let (j, byte) = (i / 64, i % 8);
        // Two lanes share a qword; what starts before it is rotated in from its end.
        let bit = byte / 4 * 32 + 4 * j + byte % 4;
        shifts[j][i % 64] = ((bit + 64 - 4) % 64) as u8;
        i += 1;
    }
    shifts
};

/// Adds the fifth bits of the blocks of a group, which stand at `offset` of each, to its arranged codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn add_fifth_bits<L: Layout>(group: &[u8], codes: &mut [__m512i; 8]) {
    let tables = const {
        let offset = if let Some(high) = L::HIGH { high } else { 0 };
        assert!(L::HIGH.is_none() || n_pairs::<L>() == 3);
        &[dword_table::<L>(0, offset), dword_table::<L>(1, offset), dword_table::<L>(2, offset)]
    };
    let mut bits = _mm512_setzero_si512();
    for pair in 0..3 {
        let Dwords(words, present) = &tables[pair];
        // SAFETY: 64 bytes are there, aligned as the table is.
        let words = unsafe { _mm512_load_si512(words.as_ptr().cast()) };
        let a = load(group, line_start::<L>(2 * pair));
        let b = load(group, line_start::<L>(2 * pair + 1));
        bits = _mm512_or_si512(bits, _mm512_maskz_permutex2var_epi16(*present, a, words, b));
    }
    for j in 0..8 {
        let eights = _mm512_multishift_epi64_epi8(load(&SHIFTS[j], 0), bits);
        let fifth = _mm512_and_si512(eights, _mm512_set1_epi8(0x10));
        codes[j] = _mm512_or_si512(codes[j], fifth);
    }
}
