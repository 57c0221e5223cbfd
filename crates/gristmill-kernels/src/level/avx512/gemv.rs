//! One token, or a few: every weight is read once, so the stream from memory sets the pace.
//!
//! A step takes sixteen blocks of one row: eight `vpdpbusd` leave four partial sums per block, a small transposition
//! adds them up so that each of sixteen lanes holds the exact sum of one block, and one FMA scales them. With one token
//! rows are walked one after the other: two at once would halve what the memory delivers. With a few, sixteen rows are
//! walked in slices, so that a slice of the activations stays in the nearest cache.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;
use std::ops::Range;

use super::transpose::transpose;
use super::unpack::Stored;
use crate::Tile;
use crate::level::prefetch::{AHEAD, prefetch};
use crate::matmul::activations::{GROUP, Group};
use crate::matmul::kernels::Rows;

/// Rows whose sums are added up together.
const ROWS: usize = 16;

/// Groups of activations that stay in the nearest cache.
const NEAR: usize = 32;

/// `N` products per row, of the tokens that `y` begins with.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn gemv<S: Stored<H>, const H: usize, const N: usize>(
    rows: &Rows<'_>,
    groups: &[Group],
    y: &mut Tile<'_, f32>,
) {
    let n_groups = groups.len() / N;
    let slice = if N == 1 { n_groups } else { n_groups.min(NEAR / N) };
    let (first_token, n_rows) = (y.rows().start, rows.n_rows());
    for start in (0..n_rows).step_by(ROWS) {
        let n_together = ROWS.min(n_rows - start);
        let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
        for g in (0..n_groups).step_by(slice) {
            let slice = g..n_groups.min(g + slice);
            for i in 0..n_together {
                let from = &rows.bytes[(start + i) * rows.row_bytes..];
                sums[i] = chains::<S, H, N>(from, rows.row_bytes, slice.clone(), groups, sums[i]);
            }
        }
        for n in 0..N {
            let mut rows_of_sums = [_mm512_setzero_si512(); ROWS];
            for i in 0..ROWS {
                rows_of_sums[i] = _mm512_castps_si512(sums[i][n]);
            }
            // The chains' sums are added one after the other, sixteen rows at once.
            let mut total = _mm512_setzero_ps();
            for chain in transpose(rows_of_sums) {
                total = _mm512_add_ps(total, _mm512_castsi512_ps(chain));
            }
            let y = &mut y.row_mut(first_token + n)[start..start + n_together];
            let mask = ((1u32 << n_together) - 1) as __mmask16;
            // SAFETY: the mask lets through only elements of `y`.
            unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, total) };
        }
    }
}

/// Adds to the sums of the sixteen chains of the row that `from` starts with: lane `c` has those of the blocks `c`,
/// `c + 16` and so on, here of the groups of `slice`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn chains<S: Stored<H>, const H: usize, const N: usize>(
    from: &[u8],
    row_bytes: usize,
    slice: Range<usize>,
    groups: &[Group],
    mut sums: [__m512; N],
) -> [__m512; N] {
    let (group_bytes, n_groups) = (4 * S::QUAD_BYTES, groups.len() / N);
    // What comes after this row; or, since rows are walked in slices, what comes after all that go together.
    let ahead = if slice.len() == n_groups { AHEAD } else { ROWS * row_bytes };
    let n_full = row_bytes / group_bytes;
    let full = slice.start..slice.end.min(n_full);
    let weights = from[full.start * group_bytes..full.end * group_bytes].chunks_exact(group_bytes);
    for (g, weights) in full.clone().zip(weights) {
        prefetch(weights, ahead);
        let mut x = [&groups[g]; N];
        for n in 1..N {
            x[n] = &groups[n * n_groups + g];
        }
        sums = add_group::<S, H, N, true>(weights, GROUP, x, sums);
    }
    if slice.end > n_full {
        let rest = row_bytes - n_full * group_bytes;
        let n_blocks = rest / (S::QUAD_BYTES / 4);
        let from = &from[n_full * group_bytes..];
        prefetch(&from[..rest], ahead);
        let mut x = [&groups[n_full]; N];
        for n in 1..N {
            x[n] = &groups[n * n_groups + n_full];
        }
        // Where another row follows, loads may reach into it.
        sums = match from.get(..group_bytes) {
            Some(weights) => add_group::<S, H, N, true>(weights, n_blocks, x, sums),
            None => add_group::<S, H, N, false>(&from[..rest], n_blocks, x, sums),
        };
    }
    sums
}

/// Adds the products of the first `n_blocks` of sixteen blocks with `N` tokens to the sixteen sums of each. The bytes of
/// the other blocks are there if `FULL`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_group<S: Stored<H>, const H: usize, const N: usize, const FULL: bool>(
    weights: &[u8],
    n_blocks: usize,
    x: [&Group; N],
    mut sums: [__m512; N],
) -> [__m512; N] {
    let mut codes = [[_mm512_setzero_si512(); 2]; 4];
    for q in 0..4 {
        if 4 * q < n_blocks {
            // SAFETY: this function has the instructions.
            codes[q] = unsafe { S::quad::<FULL>(weights, q) };
        }
    }
    let present = ((1u32 << n_blocks) - 1) as __mmask16;
    // SAFETY: as above.
    let scales = unsafe { S::scales::<FULL>(weights) };
    // SAFETY: as above.
    let minima = unsafe { S::minima::<FULL>(weights) };
    for n in 0..N {
        let mut partial = [[_mm512_setzero_si512(); 4]; H];
        for q in 0..4 {
            for half in 0..2 {
                let partial = &mut partial[half * (H - 1)][q];
                *partial =
                    _mm512_dpbusd_epi32(*partial, codes[q][half], line(&x[n].codes[q][half]));
            }
        }
        for h in 0..H {
            let mut products = block_sums(partial[h]);
            let init = init::<H>(x[n], h);
            if !S::HAS_MIN {
                // `init` is -128 times the sum of the activations; the weights' zero is a smaller power of two.
                let init = _mm512_sra_epi32(init, _mm_cvtsi32_si128(7 - S::ZERO_LOG2 as i32));
                products = _mm512_add_epi32(products, init);
            }
            let scale = _mm512_maskz_mul_ps(present, scales[h], floats(&x[n].d));
            sums[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, sums[n]);
            if S::HAS_MIN {
                let total = if H == 1 { floats(&x[n].dsum) } else { dsum(init, floats(&x[n].d)) };
                sums[n] = _mm512_mask3_fmadd_ps(minima[h], total, sums[n], present);
            }
        }
    }
    sums
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

/// The sums of the four dwords of each 128-bit lane: lane `i` of register `q` goes to dword `4 q + i`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn block_sums(quads: [__m512i; 4]) -> __m512i {
    let fold32 = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let fold64 = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    let sums = fold64(fold32(quads[0], quads[1]), fold32(quads[2], quads[3]));
    // Here dword `4 i + q` is block `4 q + i`.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, sums)
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
