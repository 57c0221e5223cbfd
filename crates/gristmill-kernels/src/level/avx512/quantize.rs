//! Activations to int8: largest magnitudes as integers (the bits of magnitudes sort like the numbers), sixteen scales
//! at once, then multiply, round to nearest even, narrow.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;

use super::gemv::{block_sums, floats, line};
use crate::matmul::activations::{BLOCK, GROUP, Group, scale_and_inverse};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn quantize(x: &[f32], groups: &mut [Group]) {
    for (x, group) in x.chunks(BLOCK * GROUP).zip(groups) {
        *group = quantize_group(x);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn quantize_group(x: &[f32]) -> Group {
    let mut group = Group::ZERO;
    let mut partial = [_mm512_setzero_si512(); 4];
    for (b, block) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
        let (q, i) = (b / 4, b % 4);
        let halves = [half(block, 0), half(block, 1)];
        let magnitude = _mm512_set1_epi32(i32::MAX);
        let bits = [_mm512_castps_si512(halves[0]), _mm512_castps_si512(halves[1])];
        let amax = _mm512_max_epi32(
            _mm512_and_si512(bits[0], magnitude),
            _mm512_and_si512(bits[1], magnitude),
        );
        let (d, inverse) = scale_and_inverse(_mm512_reduce_max_epi32(amax) as u32, 127.0);
        group.d[b] = d;
        if inverse > 0.0 {
            for part in 0..2 {
                let scaled = _mm512_mul_ps(halves[part], _mm512_set1_ps(inverse));
                let codes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(scaled));
                // SAFETY: sixteen bytes are there.
                unsafe { _mm_storeu_si128(group.codes[q][part][i].as_mut_ptr().cast(), codes) };
            }
        }
    }
    let ones = _mm512_set1_epi8(1);
    let mut sums = [_mm512_setzero_si512(); 2];
    for part in 0..2 {
        for q in 0..4 {
            let codes = line(&group.codes[q][part]);
            partial[q] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, codes);
        }
        sums[part] = block_sums(partial);
    }
    let init = times_minus_128(sums[0]);
    // SAFETY: sixteen integers are there.
    unsafe { _mm512_storeu_si512(group.init_first.as_mut_ptr().cast(), init) };
    let sums = _mm512_add_epi32(sums[0], sums[1]);
    let init = times_minus_128(sums);
    // SAFETY: sixteen integers are there.
    unsafe { _mm512_storeu_si512(group.init.as_mut_ptr().cast(), init) };
    let dsum = _mm512_mul_ps(floats(&group.d), _mm512_cvtepi32_ps(sums));
    // SAFETY: sixteen floats are there.
    unsafe { _mm512_storeu_ps(group.dsum.as_mut_ptr(), dsum) };
    group
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn times_minus_128(x: __m512i) -> __m512i {
    _mm512_slli_epi32::<7>(_mm512_sub_epi32(_mm512_setzero_si512(), x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn half(block: &[f32; BLOCK], part: usize) -> __m512 {
    let sixteen = &block.as_chunks::<16>().0[part];
    floats(sixteen)
}
