//! A few blocks at the end of a row, for one token or a few.
//!
//! They would leave most lanes of a group idle. So four rows share one: each gives a quad of it.

#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;

use super::arrange::{arrange, quad};
use super::gemv::{Unpacked, line, multiply};
use super::unpack::Stored;
use crate::matmul::activations::{GROUP, Group};
use crate::matmul::kernels::Rows;

/// The lanes of the first quad; those of the others are beside them.
const QUAD: __mmask16 = 0x1111;

/// The last blocks of the activations of up to `N` tokens, at most a quad.
pub(super) struct Tail<const N: usize> {
    n_blocks: usize,
    n_tokens: usize,
    /// The quad four times.
    x: [Group; N],
}

impl<const N: usize> Tail<N> {
    /// Rows that share a group.
    pub(super) const ROWS: usize = 4;

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
            x[n].d = four_times(last.d);
            x[n].dsum = four_times(last.dsum);
            x[n].init = four_times(last.init);
            x[n].init_first = four_times(last.init_first);
        }
        Some(Tail { n_blocks, n_tokens, x })
    }

    /// Adds what the last blocks of the first rows of `rows` give to their sums.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    pub(super) fn add<S: Stored<H>, const H: usize>(
        &self,
        rows: &Rows<'_>,
        sums: &mut [[__m512; N]],
    ) {
        let n_bytes = self.n_blocks * S::QUAD_BYTES / 4;
        let mut quads = [[_mm512_setzero_si512(); 2]; 4];
        let mut scales = [_mm512_setzero_ps(); H];
        let mut minima = [_mm512_setzero_ps(); H];
        let n_rows = rows.n_rows().min(Self::ROWS);
        // Block `i` of a row goes to the lane that it has in the first quad, or beside it.
        let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        let present = ((1u32 << (4 * self.n_blocks)) - 1) as __mmask16;
        for q in 0..n_rows {
            let weights = &rows.row(q)[rows.row_bytes - n_bytes..];
            quads[q] = quad::<S, H, false>(weights, 0);
            let mask = (QUAD << q) & present;
            // SAFETY: this function has the instructions.
            let of_row = unsafe { S::scales::<false>(weights) };
            for h in 0..H {
                scales[h] = _mm512_mask_permutexvar_ps(scales[h], mask, lanes, of_row[h]);
            }
            // SAFETY: as above.
            let of_row = unsafe { S::minima::<false>(weights) };
            for h in 0..H {
                minima[h] = _mm512_mask_permutexvar_ps(minima[h], mask, lanes, of_row[h]);
            }
        }
        let weights = [Unpacked { codes: arrange::<S, H>(quads), scales, minima }];
        for n in 0..self.n_tokens {
            let mut together = _mm512_setzero_ps();
            for q in 0..n_rows {
                together = _mm512_mask_permute_ps::<0>(together, QUAD << q, sums[q][n]);
            }
            let [together] = multiply::<S, H, 1>(&weights, &self.x[n], [together]);
            for q in 0..n_rows {
                let sums = &mut sums[q][n];
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

/// The numbers of the first quad, for all of them.
fn four_times<T: Copy>(numbers: [T; GROUP]) -> [T; GROUP] {
    std::array::from_fn(|lane| numbers[lane / 4 * 4])
}
