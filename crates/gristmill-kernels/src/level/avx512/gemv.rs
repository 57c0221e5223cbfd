//! One token: every weight is read once, so the stream from memory sets the pace.
//!
//! A step takes sixteen blocks of one row: eight `vpdpbusd` leave four partial sums per block, a small transposition
//! adds them up so that each of sixteen lanes holds the exact sum of one block, and one FMA scales them. Rows are
//! walked one after the other: two at once would halve what the memory delivers.
#![expect(unsafe_code, reason = "vector loads and prefetches")]

use std::arch::x86_64::*;

use super::unpack::{minima, quad, scales};
use crate::matmul::activations::{GROUP, Group};
use crate::matmul::kernels::Rows;
use crate::matmul::layout::Layout;

/// How far ahead of use weights are asked for. Compute between the loads shortens the window in which the CPU looks
/// ahead by itself.
pub(super) const PREFETCH: usize = 6144;

/// One product per row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn gemv<L: Layout>(rows: &Rows<'_>, x: &[Group], y: &mut [f32]) {
    let group_bytes = GROUP * L::BYTES;
    for (row, y) in rows.iter().zip(y) {
        let mut sum = _mm512_setzero_ps();
        let groups = row.chunks_exact(group_bytes);
        let rest = groups.remainder();
        for (weights, x) in groups.zip(x) {
            prefetch(weights, PREFETCH);
            sum = add_group::<L, true>(weights, x, sum);
        }
        if let (false, Some(x)) = (rest.is_empty(), x.last()) {
            prefetch(rest, PREFETCH);
            sum = add_group::<L, false>(rest, x, sum);
        }
        *y = _mm512_reduce_add_ps(sum);
    }
}

/// Adds the products of (up to) sixteen blocks to the sixteen sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_group<L: Layout, const FULL: bool>(weights: &[u8], x: &Group, sum: __m512) -> __m512 {
    let mut partial = [_mm512_setzero_si512(); 4];
    for q in 0..4 {
        if FULL || q * 4 * L::BYTES < weights.len() {
            let codes = quad::<L, FULL>(weights, q);
            for half in 0..2 {
                partial[q] = _mm512_dpbusd_epi32(partial[q], codes[half], line(&x.codes[q][half]));
            }
        }
    }
    let mut products = block_sums(partial);
    if L::MIN.is_none() {
        // `init` is -128 times the sum of the activations; the weights' zero is a smaller power of two.
        let init = _mm512_sra_epi32(lanes(&x.init), _mm_cvtsi32_si128(7 - L::ZERO_LOG2 as i32));
        products = _mm512_add_epi32(products, init);
    }
    let scale = _mm512_mul_ps(scales::<L, FULL>(weights), floats(&x.d));
    let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, sum);
    if L::MIN.is_none() {
        return sum;
    }
    _mm512_fmadd_ps(minima::<L, FULL>(weights), floats(&x.dsum), sum)
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

/// Asks for the lines `distance` bytes after those of `weights`. Past the end of the weights this asks for nothing useful,
/// which does no harm.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn prefetch(weights: &[u8], distance: usize) {
    let ahead = weights.as_ptr().wrapping_add(distance);
    for offset in (0..weights.len()).step_by(64) {
        #[allow(unused_unsafe, reason = "newer compilers know that it is safe")]
        // SAFETY: a prefetch touches nothing and never faults.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(offset).cast())
        };
    }
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
