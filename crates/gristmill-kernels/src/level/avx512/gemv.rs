//! One token, or a few: every weight is read once, so the stream from memory sets the pace.
//!
//! A step takes sixteen blocks of a row, transposed so that each of sixteen lanes has four codes of one block: eight
//! `vpdpbusd` then give the exact sums of the blocks, and one FMA scales them. With one token rows are walked one after
//! the other: two at once would halve what the memory delivers. With a few, sixteen rows are walked in slices, so that a
//! slice of the activations stays in the nearest cache, and two of them at once, so that each line of it that is loaded
//! meets both.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::tail::Tail;
use super::transpose::transpose;
use super::unpack::{Numbers, Stored};
use crate::Tile;
use crate::level::Level;
use crate::level::prefetch::{AHEAD, Ahead, SOON, prefetch_once, stream_is_asked_for, touch};
use crate::matmul::activations::{Arrangement, BLOCK, GROUP, Group};
use crate::matmul::gemv::{FEW, FewKernel};
use crate::matmul::kernels::Rows;
use crate::matmul::padding::Padding;

/// Rows whose sums are added up together.
pub(super) const ROWS: usize = 16;

/// Groups of activations that stay in the nearest cache.
const NEAR: usize = 32;

/// The kernel for weights stored as `S`.
pub(super) struct Few<S, const H: usize>(PhantomData<S>);

impl<S: Stored<H>, const H: usize> FewKernel for Few<S, H> {
    fn products(rows: &Rows<'_>, groups: &[Group], y: &mut Tile<'_, f32>) {
        assert!(Level::Avx512.is_available());
        if y.rows().len() == 1 {
            // SAFETY: the CPU has been asked.
            unsafe { products::<S, H, 1, 1>(rows, groups, y) }
        } else {
            // SAFETY: as above.
            unsafe { products::<S, H, FEW, 2>(rows, groups, y) }
        }
    }
}

/// Products with up to `N` tokens, of `R` rows at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn products<S: Stored<H>, const H: usize, const N: usize, const R: usize>(
    rows: &Rows<'_>,
    groups: &[Group],
    y: &mut Tile<'_, f32>,
) {
    let (first_token, n_tokens, n_rows) = (y.rows().start, y.rows().len(), rows.n_rows());
    let n_groups = groups.len() / n_tokens;
    let slice = if n_tokens == 1 { n_groups } else { n_groups.min(NEAR / n_tokens) };
    let mut tail = Tail::<N>::new::<S, H>(rows.n_in / BLOCK, groups, n_tokens);
    let mut padding = Padding::new();
    for start in (0..n_rows).step_by(ROWS) {
        let n_together = ROWS.min(n_rows - start);
        let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
        // What comes after rows that are walked in slices is asked for from front to back meanwhile.
        let next = rows.after(start + n_together, ROWS * rows.row_bytes);
        let mut next = Ahead::new(next, n_together.div_ceil(R) * n_groups);
        for g in (0..n_groups).step_by(slice) {
            let slice = g..n_groups.min(g + slice);
            for (i, sums) in sums.as_chunks_mut::<R>().0.iter_mut().enumerate() {
                if R * i >= n_together {
                    break;
                }
                // Rows that are not there are copies of the last; nobody looks at their sums.
                let mut from = [rows.from(start + R * i); R];
                for r in 1..R {
                    from[r] = rows.from(start + (R * i + r).min(n_together - 1));
                }
                chains::<S, H, N, R>(
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
                    for r in R * i..n_together.min(R * (i + 1)) {
                        tail.take(r, rows.row(start + r));
                    }
                }
            }
        }
        if let Some(tail) = &tail {
            tail.add::<S, H>(&mut sums[..n_together]);
        }
        for n in 0..n_tokens {
            let mut rows_of_sums = [_mm512_setzero_si512(); ROWS];
            for i in 0..ROWS {
                rows_of_sums[i] = _mm512_castps_si512(sums[i][n]);
            }
            // The chains' sums are added one after the other, sixteen rows at once.
            let chains = transpose(rows_of_sums);
            let mut total = _mm512_setzero_ps();
            for chain in 0..16 {
                let lane = Arrangement::Dwords.lane(chain);
                total = _mm512_add_ps(total, _mm512_castsi512_ps(chains[lane]));
            }
            let y = &mut y.row_mut(first_token + n)[start..start + n_together];
            let mask = ((1u32 << n_together) - 1) as __mmask16;
            // SAFETY: the mask lets through only elements of `y`.
            unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, total) };
        }
    }
}

/// Adds to the sums of the sixteen chains, each of every sixteenth block, of the rows that `from` start with what the
/// groups of `slice` give.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn chains<S: Stored<H>, const H: usize, const N: usize, const R: usize>(
    from: [&[u8]; R],
    n_blocks: usize,
    slice: Range<usize>,
    groups: &[Group],
    n_tokens: usize,
    next: &mut Ahead<'_>,
    padding: &mut Padding,
    sums: &mut [[__m512; N]; R],
) {
    let (group_bytes, n_groups) = (4 * S::QUAD_BYTES, groups.len() / n_tokens);
    let asks = stream_is_asked_for();
    // A CPU that is not asked follows one row by itself, but not two in turn.
    let is_stream = slice.len() == n_groups && (R == 1 || asks);
    for g in slice {
        let n_blocks = GROUP.min(n_blocks - g * GROUP);
        if !is_stream {
            next.ask();
        } else {
            for r in 0..R {
                let here = &from[r][g * group_bytes..];
                if asks {
                    prefetch_once(here, group_bytes, AHEAD);
                } else if S::JUMPS {
                    touch(here, group_bytes, SOON);
                }
            }
        }
        if Tail::<N>::takes::<S, H>(n_blocks) {
            break;
        }
        let mut weights = [Unpacked::zero(); R];
        for r in 0..R {
            // Where another row follows, loads may reach into it.
            let stored = padding.whole(&from[r][g * group_bytes..], group_bytes);
            weights[r] = unpacked::<S, H>(stored, n_blocks);
        }
        for n in 0..n_tokens {
            let mut of_token = [_mm512_setzero_ps(); R];
            for r in 0..R {
                of_token[r] = sums[r][n];
            }
            of_token = multiply::<S, H, R>(&weights, &groups[n * n_groups + g], of_token);
            for r in 0..R {
                sums[r][n] = of_token[r];
            }
        }
    }
}

/// Sixteen blocks of a row: codes arranged as those of the activations, and numbers.
#[derive(Clone, Copy)]
pub(super) struct Unpacked<const H: usize> {
    codes: [__m512i; 8],
    numbers: Numbers<H>,
}

impl<const H: usize> Unpacked<H> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    fn zero() -> Unpacked<H> {
        let (codes, zeros) = ([_mm512_setzero_si512(); 8], [_mm512_setzero_ps(); H]);
        Unpacked { codes, numbers: Numbers { scales: zeros, minima: zeros } }
    }
}

/// The first `n_blocks` of sixteen blocks; the numbers of the others are zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn unpacked<S: Stored<H>, const H: usize>(
    weights: &[u8],
    n_blocks: usize,
) -> Unpacked<H> {
    // SAFETY: this function has the instructions.
    let codes = unsafe { S::arranged(weights) };
    // SAFETY: as above.
    let mut numbers = unsafe { S::numbers(weights) };
    for h in 0..H {
        let present = LANES_OF_FIRST[n_blocks];
        numbers.scales[h] = _mm512_maskz_mov_ps(present, numbers.scales[h]);
        numbers.minima[h] = _mm512_maskz_mov_ps(present, numbers.minima[h]);
    }
    Unpacked { codes, numbers }
}

/// By number of blocks, the lanes of the first so many.
const LANES_OF_FIRST: [__mmask16; GROUP + 1] = {
    let mut masks = [0; GROUP + 1];
    let mut n = 0;
    while n < GROUP {
        masks[n + 1] = masks[n] | 1 << Arrangement::Dwords.lane(n);
        n += 1;
    }
    masks
};

/// Adds the products of sixteen blocks of `R` rows with a token to the sixteen sums of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn multiply<S: Stored<H>, const H: usize, const R: usize>(
    weights: &[Unpacked<H>; R],
    x: &Group,
    mut sums: [__m512; R],
) -> [__m512; R] {
    let mut products = [[_mm512_setzero_si512(); 2]; R];
    if !S::HAS_MIN {
        for h in 0..H {
            // `init` is -128 times the sum of the activations; the weights' zero is a smaller power of two.
            let shift = _mm_cvtsi32_si128(7 - S::ZERO_LOG2 as i32);
            let init = _mm512_sra_epi32(init::<H>(x, h), shift);
            for r in 0..R {
                products[r][h] = init;
            }
        }
    }
    for j in 0..8 {
        let x = line(&x.codes.as_flattened()[j]);
        // Two sums even of whole blocks, so that neither waits long for itself.
        for r in 0..R {
            products[r][j / 4] = _mm512_dpbusd_epi32(products[r][j / 4], weights[r].codes[j], x);
        }
    }
    let d = floats(&x.d);
    for r in 0..R {
        if H == 1 {
            products[r][0] = _mm512_add_epi32(products[r][0], products[r][1]);
        }
        for h in 0..H {
            let scale = _mm512_mul_ps(weights[r].numbers.scales[h], d);
            sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[r][h]), scale, sums[r]);
            if S::HAS_MIN {
                let total = if H == 1 { floats(&x.dsum) } else { dsum(init::<H>(x, h), d) };
                sums[r] = _mm512_fmadd_ps(weights[r].numbers.minima[h], total, sums[r]);
            }
        }
    }
    sums
}

/// Numbers of sixteen blocks, from the order of the blocks to that of the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn lanes_of_blocks(numbers: __m512) -> __m512 {
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_ps(order, numbers)
}

/// -128 times the sums of the activations: of whole blocks, or of their first or last halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn init<const H: usize>(x: &Group, h: usize) -> __m512i {
    match (H, h) {
        (1, _) => lanes(&x.init),
        (_, 0) => lanes(&x.init_first),
        _ => _mm512_sub_epi32(lanes(&x.init), lanes(&x.init_first)),
    }
}

/// The sums of the activations' values, exactly as `d` times the sum of the codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn dsum(init: __m512i, d: __m512) -> __m512 {
    _mm512_mul_ps(d, _mm512_mul_ps(_mm512_cvtepi32_ps(init), _mm512_set1_ps(-1.0 / 128.0)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn line(codes: &[[i8; 16]; 4]) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn lanes(values: &[i32; 16]) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn floats(values: &[f32; 16]) -> __m512 {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}
