//! Blocks whose 32 codes are bytes, as Q8_0 has them: two blocks are a register, and need no permute to be one.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::arrange::dwords;
use super::gemv::exchanged;
use crate::matmul::layout::Layout;

/// The codes of the even blocks of a group, or of the odd ones, arranged as `paired` of a
/// [`Group`](crate::matmul::activations::Group).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn paired<L: Layout>(group: &[u8], odd: usize) -> [__m512i; 4] {
    // One check instead of eight, else this would not be inlined.
    let group = &group[..16 * L::BYTES];
    dwords([
        two::<L>(group, odd, odd + 2),
        two::<L>(group, odd + 4, odd + 6),
        two::<L>(group, odd + 8, odd + 10),
        two::<L>(group, odd + 12, odd + 14),
    ])
}

/// The codes of all blocks, arranged as `codes` of a group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arranged<L: Layout>(group: &[u8]) -> [__m512i; 8] {
    let (even, odd) = (paired::<L>(group, 0), paired::<L>(group, 1));
    let mut codes = [_mm512_setzero_si512(); 8];
    for j in 0..4 {
        [codes[j], codes[4 + j]] = exchanged(even[j], odd[j]);
    }
    codes
}

/// The codes of two blocks, unsigned.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn two<L: Layout>(group: &[u8], a: usize, b: usize) -> __m512i {
    let a = _mm512_castsi256_si512(block::<L>(group, a));
    let both = _mm512_inserti64x4::<1>(a, block::<L>(group, b));
    _mm512_xor_si512(both, _mm512_set1_epi8(i8::MIN))
}

/// The stored codes of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn block<L: Layout>(group: &[u8], b: usize) -> __m256i {
    let codes: &[u8; 32] =
        group[b * L::BYTES + L::CODES..].first_chunk().expect("a block is inside the group");
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}
