//! Activations to int8: largest magnitudes as integers (the bits of magnitudes sort like the numbers), sixteen scales
//! at once, then multiply, round to nearest even, narrow.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;

use super::arrange::dwords;
use super::arrange::exchanged;
use super::gemv::{floats, lanes_of_blocks, line};
use super::transpose::transpose;
use crate::matmul::activations::{BLOCK, GROUP, Group, TINY};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn quantize(x: &[f32], groups: &mut [Group]) {
    let blocks = x.as_chunks::<BLOCK>().0;
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let mut largest = [_mm512_setzero_si512(); GROUP];
    for blocks in blocks.chunks(GROUP) {
        for (largest, block) in largest.iter_mut().zip(blocks) {
            for part in 0..2 {
                let bits = _mm512_castps_si512(half(block, part));
                *largest = _mm512_max_epi32(*largest, _mm512_and_si512(bits, magnitude));
            }
        }
    }
    let mut amax = _mm512_setzero_si512();
    for column in transpose(largest) {
        amax = _mm512_max_epi32(amax, column);
    }
    let (d, inverse, usable) = scales_and_inverses(amax, 127.0);
    let mut inverses = [0.0; GROUP];
    // SAFETY: sixteen floats are there.
    unsafe { _mm512_storeu_ps(inverses.as_mut_ptr(), inverse) };
    let d = lanes_of_blocks(d);
    for (group, blocks) in groups.iter_mut().zip(blocks.chunks(GROUP)) {
        *group = quantized(blocks, d, &inverses, usable);
    }
}

/// A group, or what is left of one, with these scales, in the order of the lanes, and their inverses, in that of the
/// blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn quantized(
    blocks: &[[f32; BLOCK]],
    d: __m512,
    inverses: &[f32; GROUP],
    usable: __mmask16,
) -> Group {
    let mut group = Group::ZERO;
    // SAFETY: sixteen floats are there.
    unsafe { _mm512_storeu_ps(group.d.as_mut_ptr(), d) };
    let mut codes = [[[[0; 16]; 4]; 4]; 2];
    for (b, block) in blocks.iter().enumerate() {
        if usable >> b & 1 != 0 {
            for part in 0..2 {
                let scaled = _mm512_mul_ps(half(block, part), _mm512_set1_ps(inverses[b]));
                let sixteen = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(scaled));
                let place: &mut [i8; 16] = &mut codes[part][b / 4][b % 4];
                // SAFETY: sixteen bytes are there.
                unsafe { _mm_storeu_si128(place.as_mut_ptr().cast(), sixteen) };
            }
        }
    }
    let ones = _mm512_set1_epi8(1);
    let mut sums = [_mm512_setzero_si512(); 2];
    for part in 0..2 {
        let mut quads = [_mm512_setzero_si512(); 4];
        for q in 0..4 {
            quads[q] = line(&codes[part][q]);
        }
        for (j, dwords) in dwords(quads).into_iter().enumerate() {
            sums[part] = _mm512_dpbusd_epi32(sums[part], ones, dwords);
            let line: &mut [[i8; 16]; 4] = &mut group.codes.as_flattened_mut()[4 * part + j];
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_storeu_si512(line.as_mut_ptr().cast(), dwords) };
        }
    }
    for j in 0..4 {
        let lines = group.codes.as_flattened();
        let pairs = exchanged(line(&lines[j]), line(&lines[4 + j]));
        for part in 0..2 {
            let line: &mut [[i8; 16]; 4] = &mut group.paired.as_flattened_mut()[4 * part + j];
            // SAFETY: 64 bytes are there.
            unsafe { _mm512_storeu_si512(line.as_mut_ptr().cast(), pairs[part]) };
        }
    }
    let init = times_minus_128(sums[0]);
    // SAFETY: sixteen integers are there.
    unsafe { _mm512_storeu_si512(group.init_first.as_mut_ptr().cast(), init) };
    let sums = _mm512_add_epi32(sums[0], sums[1]);
    let init = times_minus_128(sums);
    // SAFETY: sixteen integers are there.
    unsafe { _mm512_storeu_si512(group.init.as_mut_ptr().cast(), init) };
    let sums = _mm512_cvtepi32_ps(sums);
    // SAFETY: sixteen floats are there.
    unsafe { _mm512_storeu_ps(group.sum.as_mut_ptr(), sums) };
    group
}

/// The scales of sixteen blocks whose largest magnitudes have these bits and become `largest`, their inverses, and which
/// of them have codes other than zero: [`scale_and_inverse`](crate::matmul::activations::scale_and_inverse) of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn scales_and_inverses(amax: __m512i, largest: f32) -> (__m512, __m512, __mmask16) {
    const INFINITY: i32 = f32::INFINITY.to_bits() as i32;
    let is_finite = _mm512_cmplt_epu32_mask(amax, _mm512_set1_epi32(INFINITY));
    let is_tiny = _mm512_cmplt_epu32_mask(amax, _mm512_set1_epi32(TINY.to_bits() as i32));
    let usable = is_finite & !is_tiny;
    let (amax, largest) = (_mm512_castsi512_ps(amax), _mm512_set1_ps(largest));
    let d = _mm512_maskz_div_ps(usable, amax, largest);
    let d = _mm512_mask_mov_ps(_mm512_set1_ps(f32::NAN), is_finite, d);
    (d, _mm512_maskz_div_ps(usable, largest, amax), usable)
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
