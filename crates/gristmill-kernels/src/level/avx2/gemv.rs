//! One token, or a few: eight blocks of a row give eight exact sums in eight lanes, which one FMA scales.
//!
//! With one token rows are walked one after the other, as memory is read fastest. With a few, eight rows are walked in
//! slices, so that a slice of the activations stays in the nearest cache.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ops::Range;

use super::multiply::{Multiply, add, begin, end, ready, room, zero_shift};
use super::unpack::Stored;
use crate::Tile;
use crate::level::prefetch::{Ahead, Stream};
use crate::matmul::activations::{GROUP, Group};
use crate::matmul::gemv::{FEW, FewKernel};
use crate::matmul::kernels::Rows;
use crate::matmul::padding::Padding;

/// Blocks per step, and rows per register.
pub(super) const EIGHT: usize = 8;

/// Groups of activations that stay in the nearest cache.
const NEAR: usize = 32;

/// The kernel for weights stored as `S`, multiplied as `M` says.
pub(super) struct Few<M, S, const H: usize>(PhantomData<(M, S)>);

impl<M: Multiply, S: Stored<H>, const H: usize> FewKernel for Few<M, S, H> {
    fn products(rows: &Rows<'_>, groups: &[Group], y: &mut Tile<'_, f32>) {
        assert!(M::LEVEL.is_available());
        if y.rows().len() == 1 {
            // SAFETY: the CPU has been asked.
            unsafe { products::<M, S, H, 1>(rows, groups, y) }
        } else {
            // SAFETY: as above.
            unsafe { products::<M, S, H, FEW>(rows, groups, y) }
        }
    }
}

/// Products with up to `N` tokens.
#[target_feature(enable = "avx2,fma,f16c")]
fn products<M: Multiply, S: Stored<H>, const H: usize, const N: usize>(
    rows: &Rows<'_>,
    groups: &[Group],
    y: &mut Tile<'_, f32>,
) {
    let (first_token, n_tokens, n_rows) = (y.rows().start, y.rows().len(), rows.n_rows());
    let n_groups = groups.len() / n_tokens;
    let slice = if n_tokens == 1 { n_groups } else { n_groups.min(NEAR / n_tokens) };
    let mut padding = Padding::new();
    for start in (0..n_rows).step_by(EIGHT) {
        let n_together = EIGHT.min(n_rows - start);
        let mut sums = [[_mm256_setzero_ps(); N]; EIGHT];
        // Since rows are walked in slices, what comes after them is asked for from front to back meanwhile.
        let next = rows.after(start + n_together, EIGHT * rows.row_bytes);
        let mut next = Ahead::new(next, 2 * n_together * n_groups);
        for g in (0..n_groups).step_by(slice) {
            let slice = g..n_groups.min(g + slice);
            for i in 0..n_together {
                chains::<M, S, H, N>(
                    rows.row(start + i),
                    slice.clone(),
                    groups,
                    n_tokens,
                    &mut next,
                    &mut padding,
                    &mut sums[i],
                );
            }
        }
        for n in 0..n_tokens {
            // The chains' sums are added one after the other, eight rows at once.
            let mut total = _mm256_setzero_ps();
            for chain in transpose(sums.map(|sums| _mm256_castps_si256(sums[n]))) {
                total = _mm256_add_ps(total, _mm256_castsi256_ps(chain));
            }
            let mut values = [0.0; EIGHT];
            // SAFETY: eight floats are there.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), total) };
            let y = &mut y.row_mut(first_token + n)[start..start + n_together];
            y.copy_from_slice(&values[..n_together]);
        }
    }
}

/// Adds to the sums of the eight chains of a row: lane `c` has those of the blocks `c`, `c + 8` and so on, here of the
/// groups of `slice`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn chains<M: Multiply, S: Stored<H>, const H: usize, const N: usize>(
    row: &[u8],
    slice: Range<usize>,
    groups: &[Group],
    n_tokens: usize,
    next: &mut Ahead<'_>,
    padding: &mut Padding,
    sums: &mut [__m256; N],
) {
    let n_groups = groups.len() / n_tokens;
    let is_whole = slice.len() == n_groups;
    let stream = Stream::of_this_cpu(S::CODE_BITS);
    let group_bytes = 2 * S::EIGHT_BYTES;
    let weights = &row[slice.start * group_bytes..row.len().min(slice.end * group_bytes)];
    for (i, weights) in (2 * slice.start..).zip(weights.chunks(S::EIGHT_BYTES)) {
        if is_whole {
            stream.ask(weights, S::EIGHT_BYTES);
        } else {
            next.ask();
        }
        let weights = padding.whole(weights, S::EIGHT_BYTES);
        assert!(weights.len() == S::EIGHT_BYTES, "all eight are there");
        let mut codes = [[_mm256_setzero_si256(); 2]; 4];
        for pair in 0..4 {
            for half in 0..2 {
                // SAFETY: this function has the instructions.
                let stored = unsafe { S::codes(weights, [(2 * pair, half), (2 * pair + 1, half)]) };
                codes[pair][half] = ready::<M, S, H>(stored);
            }
        }
        // SAFETY: this function has the instructions.
        let scales = unsafe { S::scales(weights) };
        // SAFETY: as above.
        let minima = unsafe { S::minima(weights) };
        for n in 0..n_tokens {
            let x = &groups[n * n_groups + i / 2];
            sums[n] = add_eight::<M, S, H>(&codes, scales, minima, x, i % 2, sums[n]);
        }
    }
}

/// Adds the products of eight blocks with a token, the first or second half of a group, to their eight sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_eight<M: Multiply, S: Stored<H>, const H: usize>(
    codes: &[[__m256i; 2]; 4],
    scales: [__m256; H],
    minima: [__m256; H],
    x: &Group,
    part: usize,
    mut sum: __m256,
) -> __m256 {
    let products = eight_products::<M, S, H>(codes, x, part);
    let d = load_floats(&x.d[EIGHT * part..]);
    for h in 0..H {
        let mut products = block_sums(products[h]);
        let init = init::<H>(x, part, h);
        if let Some(shift) = zero_shift::<M, S, H>() {
            let init = _mm256_sra_epi32(init, _mm_cvtsi32_si128(shift));
            products = _mm256_add_epi32(products, init);
        }
        let scale = _mm256_mul_ps(scales[h], d);
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scale, sum);
        if S::HAS_MIN {
            let total = _mm256_mul_ps(_mm256_cvtepi32_ps(init), _mm256_set1_ps(-1.0 / 128.0));
            sum = _mm256_fmadd_ps(minima[h], _mm256_mul_ps(d, total), sum);
        }
    }
    sum
}

/// The sums of eight blocks, or of their halves, times a token: four partial ones of a block in each lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn eight_products<M: Multiply, S: Stored<H>, const H: usize>(
    codes: &[[__m256i; 2]; 4],
    x: &Group,
    part: usize,
) -> [[__m256i; 4]; H] {
    let mut sums = [[_mm256_setzero_si256(); 4]; H];
    for pair in 0..4 {
        let x = [0, 1].map(|half| load(&x.codes[2 * part + pair / 2][half][pair % 2 * 2..]));
        if H == 1 && room::<M, S, H>() > 1 {
            let first = add::<M, S, H>(begin::<M>(sums[0][pair]), codes[pair][0], x[0]);
            sums[0][pair] = end::<M>(sums[0][pair], add::<M, S, H>(first, codes[pair][1], x[1]));
        } else {
            for half in 0..2 {
                let sums = &mut sums[half * (H - 1)][pair];
                *sums =
                    end::<M>(*sums, add::<M, S, H>(begin::<M>(*sums), codes[pair][half], x[half]));
            }
        }
    }
    sums
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
