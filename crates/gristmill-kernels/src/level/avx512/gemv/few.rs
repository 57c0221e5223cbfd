//! A few tokens: sixteen rows are walked in slices, so that a slice of the activations stays in the nearest cache, and
//! two of them at once, so that each line of it that is loaded meets both.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{ROWS, add_chains, multiply, present, unpacked, write};
use crate::Tile;
use crate::level::avx512::tail::Tail;
use crate::level::avx512::unpack::Stored;
use crate::level::prefetch::{Ahead, Stream};
use crate::matmul::activations::{BLOCK, GROUP, Group, SECTION};
use crate::matmul::gemv::FEW;
use crate::matmul::kernels::Rows;
use crate::matmul::padding::Padding;

/// Rows that are walked at once.
const TWO: usize = 2;

/// Groups of activations that stay in the nearest cache.
const NEAR: usize = 32;

/// The sums of a row's chains, token by token.
type Sums = [__m512; FEW];

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn products<S: Stored<H>, const H: usize>(
    rows: &Rows<'_>,
    groups: &[Group],
    y: &mut Tile<'_, f32>,
) {
    let (first_token, n_tokens, n_rows) = (y.rows().start, y.rows().len(), rows.n_rows());
    let n_groups = groups.len() / n_tokens;
    let slice = SECTION.min(NEAR / n_tokens);
    let mut tail = Tail::<FEW>::new::<S, H>(rows.n_in / BLOCK, groups, n_tokens);
    let mut padding = Padding::new();
    for start in (0..n_rows).step_by(ROWS) {
        let n_together = ROWS.min(n_rows - start);
        let mut totals = [_mm512_setzero_ps(); FEW];
        // What comes after rows that are walked in slices is asked for from front to back meanwhile.
        let next = rows.after(start + n_together, ROWS * rows.row_bytes);
        let mut next = Ahead::new(next, n_together.div_ceil(TWO) * n_groups);
        for section in (0..n_groups).step_by(SECTION) {
            let end = n_groups.min(section + SECTION);
            let mut sums = [[_mm512_setzero_ps(); FEW]; ROWS];
            for g in (section..end).step_by(slice) {
                let slice = g..end.min(g + slice);
                for (i, sums) in sums.as_chunks_mut().0.iter_mut().enumerate() {
                    if TWO * i >= n_together {
                        break;
                    }
                    // A row that is not there is a copy of the last; nobody looks at its sums.
                    let last = n_together - 1;
                    let second = last.min(TWO * i + 1);
                    let from = [rows.from(start + TWO * i), rows.from(start + second)];
                    chains::<S, H>(
                        from,
                        rows.n_in / BLOCK,
                        slice.clone(),
                        groups,
                        n_tokens,
                        &mut next,
                        &mut padding,
                        sums,
                    );
                    if let Some(tail) = &mut tail
                        && slice.end == n_groups
                    {
                        for r in TWO * i..n_together.min(TWO * (i + 1)) {
                            tail.take(r, rows.row(start + r));
                        }
                    }
                }
            }
            if let Some(tail) = &tail
                && end == n_groups
            {
                tail.add::<S, H>(&mut sums[..n_together]);
            }
            for n in 0..n_tokens {
                add_chains(&sums, n, &groups[n * n_groups + section].d, &mut totals[n]);
            }
        }
        for n in 0..n_tokens {
            write(totals[n], &mut y.row_mut(first_token + n)[start..start + n_together]);
        }
    }
}

/// Adds to the sums of the sixteen chains, each of every sixteenth block, of the rows that `from` start with what the
/// groups of `slice`, inside a section, give, but for the scales of the activations.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn chains<S: Stored<H>, const H: usize>(
    from: [&[u8]; TWO],
    n_blocks: usize,
    slice: Range<usize>,
    groups: &[Group],
    n_tokens: usize,
    next: &mut Ahead<'_>,
    padding: &mut Padding,
    sums: &mut [Sums; TWO],
) {
    let (group_bytes, n_groups) = (4 * S::QUAD_BYTES, groups.len() / n_tokens);
    // Two rows in turn are no stream for a CPU that follows one by itself.
    let is_stream = slice.len() == n_groups && Stream::of_this_cpu(S::CODE_BITS) == Stream::Nearest;
    let n_whole = slice.end.min(n_blocks / GROUP);
    for g in slice.start..n_whole {
        let group = g * group_bytes..(g + 1) * group_bytes;
        let stored = [&from[0][group.clone()], &from[1][group]];
        ask(is_stream, stored, group_bytes, next);
        let weights = [unpacked::<S, H>(stored[0]), unpacked::<S, H>(stored[1])];
        for n in 0..n_tokens {
            let [first, second] = sums;
            let x = &groups[n * n_groups + g];
            [first[n], second[n]] = multiply::<S, H, TWO>(&weights, x, [first[n], second[n]]);
        }
    }
    if n_whole == slice.end {
        return;
    }
    let n_blocks = n_blocks - n_whole * GROUP;
    let rest = from.map(|from| &from[n_whole * group_bytes..]);
    ask(is_stream, rest, group_bytes, next);
    if !Tail::<FEW>::takes::<S, H>(n_blocks) {
        let groups = groups[n_whole..].iter().step_by(n_groups);
        for (rest, sums) in rest.into_iter().zip(sums) {
            cut_short::<S, H>(rest, n_blocks, groups.clone(), padding, sums);
        }
    }
}

/// Asks for what comes later: `n_bytes` of each row if the rows are walked to their ends, or else the next bytes of what
/// follows all of them.
#[inline(always)]
fn ask(is_stream: bool, stored: [&[u8]; TWO], n_bytes: usize, next: &mut Ahead<'_>) {
    if is_stream {
        stored.iter().for_each(|stored| Stream::Nearest.ask(stored, n_bytes));
    } else {
        next.ask();
    }
}

/// Adds what the last blocks of a row give, fewer than a group has, to the sums of tokens.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn cut_short<'a, S: Stored<H>, const H: usize>(
    rest: &[u8],
    n_blocks: usize,
    groups: impl Iterator<Item = &'a Group>,
    padding: &mut Padding,
    sums: &mut [__m512],
) {
    // Where another row follows, loads may reach into it.
    let mut weights = unpacked::<S, H>(padding.whole(rest, 4 * S::QUAD_BYTES));
    weights.numbers = present(weights.numbers, n_blocks);
    for (x, sum) in groups.zip(sums) {
        [*sum] = multiply::<S, H, 1>(&[weights], x, [*sum]);
    }
}
