//! Sixteen-bit words from the blocks of a group, brought to the lanes where they are wanted.
//!
//! Words that stand at the same place of every block seldom stand at the same place of two lines. So the lines are laid
//! one over the other under masks, which any unit does, and one permute finds the words of sixteen blocks in what comes
//! of it, or in two of those.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::unpack::{line_start, load, n_lines};
use crate::matmul::layout::Layout;

/// Lines of the largest group.
const LINES: usize = 9;

/// How words are found.
pub(super) struct Words {
    /// By overlay, the words of each line that are in it: all bits, or none. Vectors, since the compiler would make
    /// mask registers anew in every step of a loop.
    taken: [[Line; LINES]; 2],
    /// The lines that any word of an overlay is in, by bit.
    lines: [u16; 2],
    /// For each lane, the word of the first overlay, or 32 and that of the second.
    order: Line,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u16; 32]);

impl Words {
    /// The words that start at these bytes of a group, in the order of the lanes; what comes to a lane that wants none
    /// may be anything.
    ///
    /// # Panics
    /// When compiled, if two overlays are not enough.
    pub(super) const fn at<L: Layout>(offsets: [Option<usize>; 32]) -> Words {
        let (mut taken, mut order) = ([[Line([0; 32]); LINES]; 2], Line([0; 32]));
        let mut lines = [0; 2];
        let mut lane = 0;
        while lane < 32 {
            if let Some(offset) = offsets[lane] {
                let last = n_lines::<L>() - 1;
                let line = if offset / 64 < last { offset / 64 } else { last };
                let word = (offset - line_start::<L>(line)) / 2;
                let mut overlay = 0;
                while is_taken(&taken[overlay], line, word) {
                    overlay += 1;
                }
                taken[overlay][line].0[word] = u16::MAX;
                lines[overlay] |= 1 << line;
                order.0[lane] = (32 * overlay + word) as u16;
            }
            lane += 1;
        }
        Words { taken, lines, order }
    }

    /// The words of a group.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    pub(super) fn of<L: Layout>(&self, group: &[u8]) -> __m512i {
        let order = vector(&self.order);
        match [self.overlay::<L>(group, 0), self.overlay::<L>(group, 1)] {
            [Some(first), Some(second)] => _mm512_permutex2var_epi16(first, order, second),
            [Some(first), None] => _mm512_permutexvar_epi16(order, first),
            _ => unreachable!("words are wanted"),
        }
    }

    /// An overlay, unless nothing is in it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    fn overlay<L: Layout>(&self, group: &[u8], overlay: usize) -> Option<__m512i> {
        let mut words = None;
        for line in 0..n_lines::<L>() {
            if self.lines[overlay] >> line & 1 == 0 {
                continue;
            }
            let these = load(group, line_start::<L>(line));
            let taken = vector(&self.taken[overlay][line]);
            words = Some(match words {
                None => these,
                Some(words) => _mm512_ternarylogic_epi32::<CHOOSE>(taken, these, words),
            });
        }
        words
    }
}

/// Of each bit, the second operand where the first is set, and the third elsewhere.
const CHOOSE: i32 = 0b1100_1010;

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn vector(line: &Line) -> __m512i {
    // SAFETY: 64 bytes are there, aligned as the line is.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

/// Whether a word is taken from another line than `line`.
const fn is_taken(taken: &[Line; LINES], line: usize, word: usize) -> bool {
    let mut i = 0;
    while i < LINES {
        if i != line && taken[i].0[word] != 0 {
            return true;
        }
        i += 1;
    }
    false
}
