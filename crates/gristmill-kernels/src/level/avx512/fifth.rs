//! The fifth bits of Q5_0 and Q5_1, once the other four are in dwords: a dword of each block has them in the order of
//! its weights, and `vpmultishiftqb` brings any eight bits of a qword into each of its bytes.

use std::arch::x86_64::*;

use super::unpack::load;
use super::words::Words;
use crate::matmul::activations::Arrangement;
use crate::matmul::layout::Layout;

/// The dwords at `offset` of sixteen blocks, in the order of the lanes.
const fn dwords<L: Layout>(offset: usize) -> Words {
    let mut offsets = [None; 32];
    let mut i = 0;
    while i < 32 {
        let (b, word) = (i / 2, i % 2);
        let lane = Arrangement::Dwords.lane(b);
        offsets[2 * lane + word] = Some(b * L::BYTES + offset + 2 * word);
        i += 1;
    }
    Words::at::<L>(offsets)
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

/// The fifth bits of the blocks of a group, a dword for each in the order of the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn bits<L: Layout>(group: &[u8]) -> __m512i {
    let words = const { &dwords::<L>(if let Some(high) = L::HIGH { high } else { 0 }) };
    words.of::<L>(group)
}

/// Codes `4 j .. 4 j + 4` of sixteen blocks with their fifth bits, given the `bits` of these blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn added(codes: __m512i, bits: __m512i, j: usize) -> __m512i {
    let eights = _mm512_multishift_epi64_epi8(load(&SHIFTS[j], 0), bits);
    _mm512_or_si512(codes, _mm512_and_si512(eights, _mm512_set1_epi8(0x10)))
}
