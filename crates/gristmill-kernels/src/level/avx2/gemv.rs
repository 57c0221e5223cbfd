//! One token: eight blocks of a row give eight exact sums in eight lanes, which one FMA scales.
#![expect(unsafe_code, reason = "vector loads and prefetches")]

use std::arch::x86_64::*;

use super::unpack::{codes, minima, scales};
use crate::matmul::activations::{GROUP, Group};
use crate::matmul::kernels::Rows;
use crate::matmul::layout::Layout;

/// Blocks per step.
const EIGHT: usize = 8;

/// How far ahead of use weights are asked for.
const PREFETCH: usize = 4096;

/// One product per row.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv<L: Layout>(rows: &Rows<'_>, x: &[Group], y: &mut [f32]) {
    for (row, y) in rows.iter().zip(y) {
        let mut sum = _mm256_setzero_ps();
        let steps = row.chunks_exact(EIGHT * L::BYTES);
        let rest = steps.remainder();
        let mut n_steps = 0;
        for (i, weights) in steps.enumerate() {
            prefetch(weights, PREFETCH);
            sum = add_eight::<L>(weights, &x[i / 2], i % 2, sum);
            n_steps = i + 1;
        }
        if !rest.is_empty() {
            // Blocks that are not there have a scale of zero.
            let mut padded = [0; EIGHT * 34];
            let padded = &mut padded[..EIGHT * L::BYTES];
            padded[..rest.len()].copy_from_slice(rest);
            sum = add_eight::<L>(padded, &x[n_steps / 2], n_steps % 2, sum);
        }
        *y = total(sum);
    }
}

/// Adds the products of eight blocks, the first or second half of a group, to the eight sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_eight<L: Layout>(weights: &[u8], x: &Group, part: usize, sum: __m256) -> __m256 {
    let mut blocks = [weights; EIGHT];
    for i in 0..EIGHT {
        blocks[i] = &weights[i * L::BYTES..][..L::BYTES];
    }
    let mut partial = [_mm256_setzero_si256(); 4];
    for pair in 0..4 {
        let both = [blocks[2 * pair], blocks[2 * pair + 1]];
        let x = &x.codes[2 * part + pair / 2];
        let mut products = [_mm256_setzero_si256(); 2];
        for half in 0..2 {
            let (first, last) = x[half].split_at(2);
            let x = load(if pair % 2 == 0 { first } else { last });
            products[half] = multiply::<L>(codes::<L>(both, [half; 2]), x);
        }
        let ones = _mm256_set1_epi16(1);
        partial[pair] = if L::BITS == 8 {
            // Here each sum may fill sixteen bits.
            _mm256_add_epi32(
                _mm256_madd_epi16(products[0], ones),
                _mm256_madd_epi16(products[1], ones),
            )
        } else {
            _mm256_madd_epi16(_mm256_add_epi16(products[0], products[1]), ones)
        };
    }
    let mut products = block_sums(partial);
    if let Some(shift) = zero_shift::<L>() {
        let init = load_dwords(&x.init[EIGHT * part..]);
        products = _mm256_add_epi32(products, _mm256_sra_epi32(init, _mm_cvtsi32_si128(shift)));
    }
    let scale = _mm256_mul_ps(scales::<L>(blocks), load_floats(&x.d[EIGHT * part..]));
    let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scale, sum);
    if L::MIN.is_none() {
        return sum;
    }
    _mm256_fmadd_ps(minima::<L>(blocks), load_floats(&x.dsum[EIGHT * part..]), sum)
}

/// How far to shift `init`, -128 times the sum of the activations, for codes around a zero that is stored unsigned.
pub(super) const fn zero_shift<L: Layout>() -> Option<i32> {
    if L::MIN.is_some() || L::BITS == 8 { None } else { Some(7 - L::ZERO_LOG2 as i32) }
}

/// Products of bytes, added in pairs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply<L: Layout>(codes: __m256i, x: __m256i) -> __m256i {
    if L::BITS == 8 {
        _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
    } else {
        _mm256_maddubs_epi16(codes, x)
    }
}

/// The sums of the four dwords of each lane: the low lane of register `i` goes to dword `2 i`, the high to `2 i + 1`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn block_sums(pairs: [__m256i; 4]) -> __m256i {
    let sums = _mm256_hadd_epi32(
        _mm256_hadd_epi32(pairs[0], pairs[1]),
        _mm256_hadd_epi32(pairs[2], pairs[3]),
    );
    _mm256_permutevar8x32_epi32(sums, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// The sum of eight lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn total(sum: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// Asks for the lines `distance` bytes after those of `weights`. Past the end of the weights this asks for nothing
/// useful, which does no harm.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
fn load(codes: &[[i8; 16]]) -> __m256i {
    let codes: &[[i8; 16]; 2] = codes.first_chunk().expect("two halves");
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_dwords(values: &[i32]) -> __m256i {
    let values: &[i32; EIGHT] = values.first_chunk().expect("half a group");
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_floats(values: &[f32]) -> __m256 {
    let values: &[f32; EIGHT] = values.first_chunk().expect("half a group");
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

const _: () = assert!(GROUP == 2 * EIGHT);
