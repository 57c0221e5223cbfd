//! One token: rows are walked one after the other, since two at once would halve what the memory delivers.

use std::arch::x86_64::*;

use super::{ROWS, add_chains, direct, present, scaled_halves, write};
use crate::Tile;
use crate::level::avx512::tail::Tail;
use crate::level::avx512::unpack::Stored;
use crate::level::prefetch::Stream;
use crate::matmul::activations::{BLOCK, GROUP, Group, SECTION};
use crate::matmul::kernels::Rows;
use crate::matmul::padding::Padding;

/// Sections of a row whose sums are kept until those of sixteen rows are added up. Longer rows are walked in parts.
const KEPT: usize = 8;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn products<S: Stored<H>, const H: usize>(
    rows: &Rows<'_>,
    groups: &[Group],
    y: &mut Tile<'_, f32>,
) {
    let (token, n_rows, n_blocks) = (y.rows().start, rows.n_rows(), rows.n_in / BLOCK);
    let mut tail = Tail::<1>::new::<S, H>(n_blocks, groups, 1);
    let mut padding = Padding::new();
    // Short rows would spend more time on clearing the sums of long ones than on their own.
    let (mut one, mut several);
    let sums: &mut [[[__m512; 1]; ROWS]] = if groups.len() <= SECTION {
        one = [[[_mm512_setzero_ps(); 1]; ROWS]];
        &mut one
    } else {
        several = [[[_mm512_setzero_ps(); 1]; ROWS]; KEPT];
        &mut several
    };
    for start in (0..n_rows).step_by(ROWS) {
        let n_together = ROWS.min(n_rows - start);
        let mut total = _mm512_setzero_ps();
        for (i, part) in groups.chunks(KEPT * SECTION).enumerate() {
            let first = i * KEPT * SECTION;
            let is_last = first + part.len() == groups.len();
            for row in 0..n_together {
                let mut rest = &rows.from(start + row)[first * 4 * S::QUAD_BYTES..];
                let mut left = n_blocks - first * GROUP;
                for (groups, sums) in part.chunks(SECTION).zip(&mut *sums) {
                    sums[row] = [section::<S, H>(&mut rest, &mut left, groups, &mut padding)];
                }
                if let Some(tail) = &mut tail
                    && is_last
                {
                    tail.take(row, rows.row(start + row));
                }
            }
            if let Some(tail) = &tail
                && is_last
            {
                let last = &mut sums[(part.len() - 1) / SECTION];
                tail.add::<S, H>(&mut last[..n_together]);
            }
            for (groups, sums) in part.chunks(SECTION).zip(&*sums) {
                add_chains(sums, 0, &groups[0].d, &mut total);
            }
        }
        write(total, &mut y.row_mut(token)[start..start + n_together]);
    }
}

/// The sums of the sixteen chains of a section, but for the activations' scales, of the row that `rest` goes on with;
/// `left` of its blocks are left. A few at its end are a [`Tail`]'s.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn section<S: Stored<H>, const H: usize>(
    rest: &mut &[u8],
    left: &mut usize,
    groups: &[Group],
    padding: &mut Padding,
) -> __m512 {
    let (group_bytes, stream) = (4 * S::QUAD_BYTES, Stream::of_this_cpu(S::CODE_BITS));
    let mut sums = _mm512_setzero_ps();
    let n_whole = groups.len().min(*left / GROUP);
    let (whole, after) = rest.split_at(n_whole * group_bytes);
    for (stored, x) in whole.chunks_exact(group_bytes).zip(groups) {
        stream.ask(stored, group_bytes);
        let products = direct::products::<S, H>(stored, x);
        // After the codes: the compiler would take short loads from longer ones before them, by shuffles.
        // SAFETY: this function has the instructions.
        let numbers = unsafe { S::numbers(stored) };
        sums = scaled_halves::<S, H>(products, &numbers, x, sums);
    }
    *rest = after;
    *left -= n_whole * GROUP;
    if let Some(x) = groups.get(n_whole) {
        if Tail::<1>::takes::<S, H>(*left) {
            stream.ask(after, S::QUAD_BYTES);
        } else {
            stream.ask(after, group_bytes);
            let stored = padding.whole(after, group_bytes);
            let products = direct::products::<S, H>(stored, x);
            // SAFETY: as above.
            let numbers = present(unsafe { S::numbers(stored) }, *left);
            sums = scaled_halves::<S, H>(products, &numbers, x, sums);
        }
    }
    sums
}
