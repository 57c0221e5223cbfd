//! Blocks whose 32 codes are bytes, as Q8_0 has them: two blocks are a register, and need no permute to be one.

use std::arch::x86_64::*;

use super::arrange::{dwords, four_lines};
use super::unpack::load_two;
use crate::matmul::blocks::Plain;
use crate::matmul::layout::Layout;

/// The first block of a line; the other is the next but one.
const fn first(line: usize) -> usize {
    line / 2 * 4 + line % 2
}

/// The block and the half of it that a lane of a line is.
pub(super) const fn place(line: usize, lane: usize) -> (usize, usize) {
    (first(line) + lane / 2 * 2, lane % 2)
}

/// The codes of two even or two odd blocks, unsigned.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn line<L: Layout>(group: &[u8], line: usize) -> __m512i {
    let (a, b) = (first(line), first(line) + 2);
    let both = load_two(group, a * L::BYTES + L::CODES, b * L::BYTES + L::CODES);
    _mm512_xor_si512(both, _mm512_set1_epi8(i8::MIN))
}

/// The codes of the even blocks and those of the odd ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn parts<L: Layout>(group: &[u8]) -> [[__m512i; 4]; 2] {
    let even = four_lines::<Plain<L>, 1>(group, 0, 2);
    let odd = four_lines::<Plain<L>, 1>(group, 1, 2);
    [dwords(even), dwords(odd)]
}
