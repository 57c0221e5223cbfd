//! One token: every weight is read once, so the stream from memory sets the pace.
//!
//! A step takes sixteen blocks of one row: eight `vpdpbusd` leave four partial sums per block, a small transposition
//! adds them up so that each of sixteen lanes holds the exact sum of one block, and one FMA scales them. Rows are
//! walked one after the other: two at once would halve what the memory delivers.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::transpose::transpose;
use super::unpack::Stored;
use crate::level::prefetch::{AHEAD, prefetch};
use crate::matmul::activations::{GROUP, Group};
use crate::matmul::kernels::Rows;

/// One product per row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn gemv<S: Stored<H>, const H: usize>(rows: &Rows<'_>, x: &[Group], y: &mut [f32]) {
    for (start, y) in (0..rows.n_rows()).step_by(16).zip(y.chunks_mut(16)) {
        let mut sums = [_mm512_setzero_si512(); 16];
        for i in 0..y.len() {
            let from = &rows.bytes[(start + i) * rows.row_bytes..];
            sums[i] = _mm512_castps_si512(chains::<S, H>(from, rows.row_bytes, x));
        }
        // The chains' sums are added one after the other, sixteen rows at once.
        let mut total = _mm512_setzero_ps();
        for chain in transpose(sums) {
            total = _mm512_add_ps(total, _mm512_castsi512_ps(chain));
        }
        let mask = ((1u32 << y.len()) - 1) as __mmask16;
        // SAFETY: the mask lets through only elements of `y`.
        unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, total) };
    }
}

/// The sums of the sixteen chains of the row that `from` starts with: lane `c` has those of the blocks `c`, `c + 16`
/// and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn chains<S: Stored<H>, const H: usize>(from: &[u8], row_bytes: usize, x: &[Group]) -> __m512 {
    let mut sum = _mm512_setzero_ps();
    let group_bytes = 4 * S::QUAD_BYTES;
    let n_full = row_bytes / group_bytes;
    for (weights, x) in from.chunks_exact(group_bytes).zip(&x[..n_full]) {
        prefetch(weights, AHEAD);
        sum = add_group::<S, H, true>(weights, GROUP, x, sum);
    }
    let rest = row_bytes - n_full * group_bytes;
    if rest > 0 {
        let n_blocks = rest / (S::QUAD_BYTES / 4);
        let (from, x) = (&from[n_full * group_bytes..], &x[n_full]);
        prefetch(&from[..rest], AHEAD);
        // Where another row follows, loads may reach into it.
        sum = match from.get(..group_bytes) {
            Some(weights) => add_group::<S, H, true>(weights, n_blocks, x, sum),
            None => add_group::<S, H, false>(&from[..rest], n_blocks, x, sum),
        };
    }
    sum
}

/// Adds the products of the first `n_blocks` of sixteen blocks to the sixteen sums. The bytes of the others are there
/// if `FULL`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_group<S: Stored<H>, const H: usize, const FULL: bool>(
    weights: &[u8],
    n_blocks: usize,
    x: &Group,
    sum: __m512,
) -> __m512 {
    let mut partial = [[_mm512_setzero_si512(); 4]; H];
    for q in 0..4 {
        if 4 * q < n_blocks {
            // SAFETY: this function has the instructions.
            let codes = unsafe { S::quad::<FULL>(weights, q) };
            for half in 0..2 {
                let sums = &mut partial[half * (H - 1)][q];
                *sums = _mm512_dpbusd_epi32(*sums, codes[half], line(&x.codes[q][half]));
            }
        }
    }
    let present = ((1u32 << n_blocks) - 1) as __mmask16;
    // SAFETY: as above.
    let scales = unsafe { S::scales::<FULL>(weights) };
    // SAFETY: as above.
    let minima = unsafe { S::minima::<FULL>(weights) };
    let mut sum = sum;
    for h in 0..H {
        let mut products = block_sums(partial[h]);
        let init = init::<H>(x, h);
        if !S::HAS_MIN {
            // `init` is -128 times the sum of the activations; the weights' zero is a smaller power of two.
            let init = _mm512_sra_epi32(init, _mm_cvtsi32_si128(7 - S::ZERO_LOG2 as i32));
            products = _mm512_add_epi32(products, init);
        }
        let scale = _mm512_maskz_mul_ps(present, scales[h], floats(&x.d));
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, sum);
        if S::HAS_MIN {
            let total = if H == 1 { floats(&x.dsum) } else { dsum(init, floats(&x.d)) };
            sum = _mm512_mask3_fmadd_ps(minima[h], total, sum, present);
        }
    }
    sum
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
