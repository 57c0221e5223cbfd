//! One token, or a few: every weight is read once, so the stream from memory sets the pace.
//!
//! A step takes sixteen blocks of one row, transposed so that each of sixteen lanes has four codes of one block: eight
//! `vpdpbusd` then give the exact sums of the blocks, and one FMA scales them. With one token rows are walked one after
//! the other: two at once would halve what the memory delivers. With a few, sixteen rows are walked in slices, so that a
//! slice of the activations stays in the nearest cache.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::tail::Tail;
use super::transpose::transpose;
use super::unpack::Stored;
use crate::Tile;
use crate::level::Level;
use crate::level::prefetch::{AHEAD, Ahead, prefetch_once};
use crate::matmul::activations::{Arrangement, BLOCK, GROUP, Group};
use crate::matmul::gemv::FewKernel;
use crate::matmul::kernels::Rows;
use crate::matmul::padding::Padding;

/// Rows whose sums are added up together.
const ROWS: usize = 16;

/// Groups of activations that stay in the nearest cache.
const NEAR: usize = 32;

/// The kernel for weights stored as `S`.
pub(super) struct Few<S, const H: usize>(PhantomData<S>);

impl<S: Stored<H>, const H: usize> FewKernel for Few<S, H> {
    const ROWS: usize = ROWS;

    fn products<const N: usize>(rows: &Rows<'_>, groups: &[Group], y: &mut Tile<'_, f32>) {
        assert!(Level::Avx512.is_available());
        // SAFETY: the CPU has been asked.
        unsafe { products::<S, H, N>(rows, groups, y) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn products<S: Stored<H>, const H: usize, const N: usize>(
    rows: &Rows<'_>,
    groups: &[Group],
    y: &mut Tile<'_, f32>,
) {
    let n_groups = groups.len() / N;
    let slice = if N == 1 { n_groups } else { n_groups.min(NEAR / N) };
    let (first_token, n_rows) = (y.rows().start, rows.n_rows());
    let tail = Tail::<N>::new::<S, H>(rows.n_in / BLOCK, groups);
    let mut padding = Padding::new();
    for start in (0..n_rows).step_by(ROWS) {
        let n_together = ROWS.min(n_rows - start);
        let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
        // Since rows are walked in slices, what comes after them is asked for from front to back meanwhile.
        let next = rows.after(start + n_together, ROWS * rows.row_bytes);
        let mut next = Ahead::new(next, n_together * n_groups);
        for g in (0..n_groups).step_by(slice) {
            let slice = g..n_groups.min(g + slice);
            for i in 0..n_together {
                sums[i] = chains::<S, H, N>(
                    rows.from(start + i),
                    rows.row_bytes,
                    slice.clone(),
                    groups,
                    &mut next,
                    &mut padding,
                    sums[i],
                );
            }
        }
        if !S::IN_SUPER_BLOCKS
            && let Some(tail) = &tail
        {
            for i in (0..n_together).step_by(Tail::<N>::ROWS) {
                tail.add::<S, H>(&rows.part(start + i..start + n_together), &mut sums[i..]);
            }
        }
        for n in 0..N {
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

/// Adds to the sums of the sixteen chains of the row that `from` starts with, each of every sixteenth block, what the
/// groups of `slice` give.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn chains<S: Stored<H>, const H: usize, const N: usize>(
    from: &[u8],
    row_bytes: usize,
    slice: Range<usize>,
    groups: &[Group],
    next: &mut Ahead<'_>,
    padding: &mut Padding,
    mut sums: [__m512; N],
) -> [__m512; N] {
    let (group_bytes, n_groups) = (4 * S::QUAD_BYTES, groups.len() / N);
    let mut ask = |here: &[u8]| {
        if slice.len() == n_groups {
            prefetch_once(here, AHEAD);
        } else {
            next.ask();
        }
    };
    let n_full = row_bytes / group_bytes;
    let full = slice.start..slice.end.min(n_full);
    let weights = from[full.start * group_bytes..full.end * group_bytes].chunks_exact(group_bytes);
    for (g, weights) in full.clone().zip(weights) {
        ask(weights);
        let mut x = [&groups[g]; N];
        for n in 1..N {
            x[n] = &groups[n * n_groups + g];
        }
        sums = add_group::<S, H, N>(weights, GROUP, x, sums);
    }
    if slice.end > n_full {
        let rest = row_bytes - n_full * group_bytes;
        let n_blocks = rest / (S::QUAD_BYTES / 4);
        let from = &from[n_full * group_bytes..];
        ask(&from[..rest]);
        if Tail::<N>::takes::<S, H>(n_blocks) {
            return sums;
        }
        let mut x = [&groups[n_full]; N];
        for n in 1..N {
            x[n] = &groups[n * n_groups + n_full];
        }
        // Where another row follows, loads may reach into it.
        sums = add_group::<S, H, N>(padding.whole(from, group_bytes), n_blocks, x, sums);
    }
    sums
}

/// Adds the products of the first `n_blocks` of sixteen blocks with `N` tokens to the sixteen sums of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_group<S: Stored<H>, const H: usize, const N: usize>(
    weights: &[u8],
    n_blocks: usize,
    x: [&Group; N],
    sums: [__m512; N],
) -> [__m512; N] {
    let present = ((1u32 << n_blocks) - 1) as __mmask16;
    let codes = arrange::<S, H>([0, 1, 2, 3].map(|q| quad::<S, H, true>(weights, q)));
    // SAFETY: this function has the instructions.
    let mut scales = unsafe { S::scales::<true>(weights) };
    // SAFETY: as above.
    let mut minima = unsafe { S::minima::<true>(weights) };
    for h in 0..H {
        scales[h] = lanes_of_blocks(_mm512_maskz_mov_ps(present, scales[h]));
        minima[h] = lanes_of_blocks(_mm512_maskz_mov_ps(present, minima[h]));
    }
    multiply::<S, H, N>(codes, scales, minima, x, sums)
}

/// Adds the products of sixteen blocks with `N` tokens to the sixteen sums of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn multiply<S: Stored<H>, const H: usize, const N: usize>(
    codes: [__m512i; 8],
    scales: [__m512; H],
    minima: [__m512; H],
    x: [&Group; N],
    mut sums: [__m512; N],
) -> [__m512; N] {
    for n in 0..N {
        let mut products = [_mm512_setzero_si512(); 2];
        for j in 0..8 {
            let x = line(&x[n].codes.as_flattened()[j]);
            products[j / 4] = _mm512_dpbusd_epi32(products[j / 4], codes[j], x);
        }
        if H == 1 {
            products[0] = _mm512_add_epi32(products[0], products[1]);
        }
        for h in 0..H {
            let init = init::<H>(x[n], h);
            let mut product = products[h];
            if !S::HAS_MIN {
                // `init` is -128 times the sum of the activations; the weights' zero is a smaller power of two.
                let init = _mm512_sra_epi32(init, _mm_cvtsi32_si128(7 - S::ZERO_LOG2 as i32));
                product = _mm512_add_epi32(product, init);
            }
            let scale = _mm512_mul_ps(scales[h], floats(&x[n].d));
            sums[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, sums[n]);
            if S::HAS_MIN {
                let total = if H == 1 { floats(&x[n].dsum) } else { dsum(init, floats(&x[n].d)) };
                sums[n] = _mm512_fmadd_ps(minima[h], total, sums[n]);
            }
        }
    }
    sums
}

/// What [`arrange`] takes: the codes of a quad, or only the bytes that they are nibbles of.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn quad<S: Stored<H>, const H: usize, const FULL: bool>(
    weights: &[u8],
    q: usize,
) -> [__m512i; 2] {
    if S::NIBBLES {
        // SAFETY: this function has the instructions.
        [unsafe { S::bytes::<FULL>(weights, q) }, _mm512_setzero_si512()]
    } else {
        // SAFETY: as above.
        unsafe { S::quad::<FULL>(weights, q) }
    }
}

/// The codes of four quads, arranged as those of the activations.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn arrange<S: Stored<H>, const H: usize>(quads: [[__m512i; 2]; 4]) -> [__m512i; 8] {
    let mut codes = [_mm512_setzero_si512(); 8];
    let first = dwords(quads.map(|quad| quad[0]));
    if S::NIBBLES {
        for j in 0..4 {
            // SAFETY: this function has the instructions.
            [codes[j], codes[4 + j]] = unsafe { S::split(first[j]) };
        }
    } else {
        codes[..4].copy_from_slice(&first);
        codes[4..].copy_from_slice(&dwords(quads.map(|quad| quad[1])));
    }
    codes
}

/// Of four quads, each the same sixteen bytes of four blocks, dword `j` of every block: lane `4 i + q` is block `i` of
/// quad `q`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn dwords(quads: [__m512i; 4]) -> [__m512i; 4] {
    let low =
        [_mm512_unpacklo_epi32(quads[0], quads[1]), _mm512_unpacklo_epi32(quads[2], quads[3])];
    let high =
        [_mm512_unpackhi_epi32(quads[0], quads[1]), _mm512_unpackhi_epi32(quads[2], quads[3])];
    [
        _mm512_unpacklo_epi64(low[0], low[1]),
        _mm512_unpackhi_epi64(low[0], low[1]),
        _mm512_unpacklo_epi64(high[0], high[1]),
        _mm512_unpackhi_epi64(high[0], high[1]),
    ]
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
