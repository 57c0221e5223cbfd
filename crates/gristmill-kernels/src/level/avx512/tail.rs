//! A few blocks at the end of a row, for one token or a few.
//!
//! They would leave most lanes of a group idle. So four rows share one: each gives a quad of it. The blocks are copied
//! as soon as their row has been walked, so that they have long been written when the group is read.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;

use super::gemv::{ROWS, line, multiply, unpacked};
use super::unpack::Stored;
use crate::matmul::activations::{GROUP, Group};

/// The lanes of the first quad; those of the others are beside them.
const QUAD: __mmask16 = 0x1111;

/// Bytes of the largest quad, and of the whole lines it is copied in.
const QUAD_BYTES: usize = 4 * 34;
const LINES: usize = QUAD_BYTES.div_ceil(64);

/// The last blocks, at most a quad, of the activations of up to `N` tokens and of [`ROWS`] rows.
pub(super) struct Tail<const N: usize> {
    n_tokens: usize,
    /// The quad four times.
    x: [Group; N],
    /// Which bytes of a row's last lines are there, counted from the first of its last blocks.
    present: [__mmask64; LINES],
    n_bytes: usize,
    quad_bytes: usize,
    /// By four rows: their quads, with zeros where a row has no blocks, and room behind for whole lines.
    stored: [[u8; 4 * QUAD_BYTES + 64 * LINES]; ROWS / 4],
}

impl<const N: usize> Tail<N> {
    /// Whether so many blocks at the end of a row are a few. Super-blocks never are.
    pub(super) fn takes<S: Stored<H>, const H: usize>(n_blocks: usize) -> bool {
        !S::IN_SUPER_BLOCKS && (1..=4).contains(&n_blocks)
    }

    /// Of rows of `n_blocks` blocks, the activations being `groups` token after token. `None` if no few blocks are left
    /// at their end.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    pub(super) fn new<S: Stored<H>, const H: usize>(
        n_blocks: usize,
        groups: &[Group],
        n_tokens: usize,
    ) -> Option<Tail<N>> {
        let (n_groups, n_blocks) = (groups.len() / n_tokens, n_blocks % GROUP);
        if !Tail::<N>::takes::<S, H>(n_blocks) {
            return None;
        }
        let mut x = [Group::ZERO; N];
        for n in 0..n_tokens {
            let last = &groups[(n + 1) * n_groups - 1];
            for (to, from) in
                x[n].codes.as_flattened_mut().iter_mut().zip(last.codes.as_flattened())
            {
                let four_times = _mm512_shuffle_epi32::<0>(line(from));
                // SAFETY: 64 bytes are there.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), four_times) };
            }
            x[n].sum = four_times(last.sum);
            x[n].init = four_times(last.init);
            x[n].init_first = four_times(last.init_first);
        }
        let n_bytes = n_blocks * S::QUAD_BYTES / 4;
        let present = std::array::from_fn(|line| match n_bytes.saturating_sub(64 * line) {
            0 => 0,
            left => u64::MAX >> (64 - left.min(64)),
        });
        let stored = [[0; _]; _];
        Some(Tail { n_tokens, x, present, n_bytes, quad_bytes: S::QUAD_BYTES, stored })
    }

    /// Takes the last blocks of row `i` of those whose sums are added up together. They come in turn.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    pub(super) fn take(&mut self, i: usize, row: &[u8]) {
        let blocks = &row[row.len() - self.n_bytes..];
        let to = &mut self.stored[i / 4][i % 4 * self.quad_bytes..][..64 * LINES];
        for (n, (to, &present)) in
            to.as_chunks_mut::<64>().0.iter_mut().zip(&self.present).enumerate()
        {
            if present == 0 {
                break;
            }
            // SAFETY: the mask lets through only bytes of `blocks`.
            let bytes = unsafe {
                _mm512_maskz_loadu_epi8(present, blocks.as_ptr().wrapping_add(64 * n).cast())
            };
            // What is written past this row's quad is zero, and the next row's in turn.
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), bytes) };
        }
    }

    /// Adds what the blocks that were taken give, but for the activations' scales, to the sums of their rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    pub(super) fn add<S: Stored<H>, const H: usize>(&self, sums: &mut [[__m512; N]]) {
        for (sums, stored) in sums.chunks_mut(4).zip(&self.stored) {
            let weights = [unpacked::<S, H>(&stored[..4 * S::QUAD_BYTES])];
            for n in 0..self.n_tokens {
                let mut together = _mm512_setzero_ps();
                for (q, sums) in sums.iter().enumerate() {
                    together = _mm512_mask_permute_ps::<0>(together, QUAD << q, sums[n]);
                }
                let [together] = multiply::<S, H, 1>(&weights, &self.x[n], [together]);
                for (q, sums) in sums.iter_mut().enumerate() {
                    let sums = &mut sums[n];
                    *sums = match q {
                        0 => _mm512_mask_mov_ps(*sums, QUAD, together),
                        1 => _mm512_mask_permute_ps::<1>(*sums, QUAD, together),
                        2 => _mm512_mask_permute_ps::<2>(*sums, QUAD, together),
                        _ => _mm512_mask_permute_ps::<3>(*sums, QUAD, together),
                    };
                }
            }
        }
    }
}

/// The numbers of the first quad, for all of them.
fn four_times<T: Copy>(numbers: [T; GROUP]) -> [T; GROUP] {
    std::array::from_fn(|lane| numbers[lane / 4 * 4])
}
