//! One token: eight blocks of a row give eight exact sums in eight lanes, which one FMA scales.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;

use super::unpack::Stored;
use crate::level::prefetch::{AHEAD, prefetch};
use crate::matmul::activations::{GROUP, Group};
use crate::matmul::kernels::Rows;

/// Blocks per step, and rows per register.
pub(super) const EIGHT: usize = 8;

/// One product per row.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv<S: Stored<H>, const H: usize>(rows: &Rows<'_>, x: &[Group], y: &mut [f32]) {
    for (start, y) in (0..rows.n_rows()).step_by(EIGHT).zip(y.chunks_mut(EIGHT)) {
        let mut sums = [_mm256_setzero_si256(); EIGHT];
        for i in 0..y.len() {
            sums[i] = _mm256_castps_si256(chains::<S, H>(rows.row(start + i), x));
        }
        // The chains' sums are added one after the other, eight rows at once.
        let mut total = _mm256_setzero_ps();
        for chain in transpose(sums) {
            total = _mm256_add_ps(total, _mm256_castsi256_ps(chain));
        }
        let mut values = [0.0; EIGHT];
        // SAFETY: eight floats are there.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), total) };
        y.copy_from_slice(&values[..y.len()]);
    }
}

/// The sums of the eight chains of a row: lane `c` has those of the blocks `c`, `c + 8` and so on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn chains<S: Stored<H>, const H: usize>(row: &[u8], x: &[Group]) -> __m256 {
    let mut sum = _mm256_setzero_ps();
    let eights = row.chunks_exact(S::EIGHT_BYTES);
    let rest = eights.remainder();
    for (i, weights) in eights.enumerate() {
        prefetch(weights, AHEAD);
        sum = add_eight::<S, H, true>(weights, &x[i / 2], i % 2, sum);
    }
    if !rest.is_empty() {
        let i = row.len() / S::EIGHT_BYTES;
        sum = add_eight::<S, H, false>(rest, &x[i / 2], i % 2, sum);
    }
    sum
}

/// Adds the products of eight blocks, the first or second half of a group, to the eight sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_eight<S: Stored<H>, const H: usize, const FULL: bool>(
    weights: &[u8],
    x: &Group,
    part: usize,
    sum: __m256,
) -> __m256 {
    assert!(!FULL || weights.len() == S::EIGHT_BYTES, "all eight are there");
    let ones = _mm256_set1_epi16(1);
    let mut partial = [[_mm256_setzero_si256(); 4]; H];
    for pair in 0..4 {
        let mut narrow = [_mm256_setzero_si256(); 2];
        for half in 0..2 {
            let x = load(&x.codes[2 * part + pair / 2][half][pair % 2 * 2..]);
            // SAFETY: this function has the instructions.
            let codes = unsafe { S::codes(weights, [(2 * pair, half), (2 * pair + 1, half)]) };
            narrow[half] = multiply::<S, H>(ready::<S, H>(codes), x);
        }
        if H == 1 && room::<S, H>() > 1 {
            partial[0][pair] = _mm256_madd_epi16(_mm256_add_epi16(narrow[0], narrow[1]), ones);
        } else {
            for half in 0..2 {
                let sums = &mut partial[half * (H - 1)][pair];
                *sums = _mm256_add_epi32(*sums, _mm256_madd_epi16(narrow[half], ones));
            }
        }
    }
    let d = load_floats(&x.d[EIGHT * part..]);
    // SAFETY: this function has the instructions.
    let scales = unsafe { S::scales(weights) };
    // SAFETY: as above.
    let minima = unsafe { S::minima(weights) };
    let mut sum = sum;
    for h in 0..H {
        let mut products = block_sums(partial[h]);
        let init = init::<H>(x, part, h);
        if let Some(shift) = zero_shift::<S, H>() {
            products = _mm256_add_epi32(products, _mm256_sra_epi32(init, _mm_cvtsi32_si128(shift)));
        }
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_mul_ps(scales[h], d), sum);
        if S::HAS_MIN {
            let sums = _mm256_mul_ps(_mm256_cvtepi32_ps(init), _mm256_set1_ps(-1.0 / 128.0));
            sum = _mm256_fmadd_ps(minima[h], _mm256_mul_ps(d, sums), sum);
        }
    }
    sum
}

/// -128 times the sums of the activations: of whole blocks, or of their first or last halves.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn init<const H: usize>(x: &Group, part: usize, h: usize) -> __m256i {
    let whole = load_dwords(&x.init[EIGHT * part..]);
    let first = load_dwords(&x.init_first[EIGHT * part..]);
    match (H, h) {
        (1, _) => whole,
        (_, 0) => first,
        _ => _mm256_sub_epi32(whole, first),
    }
}

/// How far to shift `init` for codes around a zero that are multiplied unsigned.
pub(super) const fn zero_shift<S: Stored<H>, const H: usize>() -> Option<i32> {
    if S::HAS_MIN || is_signed::<S, H>() { None } else { Some(7 - S::ZERO_LOG2 as i32) }
}

/// Whether codes are multiplied as signed bytes, since two products of unsigned ones might not fit 16 bits.
const fn is_signed<S: Stored<H>, const H: usize>() -> bool {
    S::CODE_BITS == 8
}

/// How many sums of two products fit 16 bits.
pub(super) const fn room<S: Stored<H>, const H: usize>() -> usize {
    match S::CODE_BITS {
        8 => 1,
        bits => {
            let largest = 2 * 127 * ((1 << bits) - 1);
            if 8 * largest <= 32767 { 8 } else { 32767 / largest / 2 * 2 }
        }
    }
}

/// Codes as [`multiply`] takes them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn ready<S: Stored<H>, const H: usize>(codes: __m256i) -> __m256i {
    if is_signed::<S, H>() { _mm256_xor_si256(codes, _mm256_set1_epi8(i8::MIN)) } else { codes }
}

/// Products of bytes, added in pairs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply<S: Stored<H>, const H: usize>(codes: __m256i, x: __m256i) -> __m256i {
    if is_signed::<S, H>() {
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

/// Dword `j` of register `i` goes to dword `i` of register `j`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    // Inside each 128-bit lane first: register `4 k + j`, lane `l` then holds column `4 l + j` of rows 4k..4k+4.
    let mut quads = rows;
    for k in [0, 4] {
        let low01 = _mm256_unpacklo_epi32(rows[k], rows[k + 1]);
        let high01 = _mm256_unpackhi_epi32(rows[k], rows[k + 1]);
        let low23 = _mm256_unpacklo_epi32(rows[k + 2], rows[k + 3]);
        let high23 = _mm256_unpackhi_epi32(rows[k + 2], rows[k + 3]);
        quads[k] = _mm256_unpacklo_epi64(low01, low23);
        quads[k + 1] = _mm256_unpackhi_epi64(low01, low23);
        quads[k + 2] = _mm256_unpacklo_epi64(high01, high23);
        quads[k + 3] = _mm256_unpackhi_epi64(high01, high23);
    }
    let mut columns = rows;
    for j in 0..4 {
        columns[j] = _mm256_permute2x128_si256::<0x20>(quads[j], quads[4 + j]);
        columns[4 + j] = _mm256_permute2x128_si256::<0x31>(quads[j], quads[4 + j]);
    }
    columns
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
