//! One token, or a few: every weight is read once, so the stream from memory sets the pace.
//!
//! A step takes sixteen blocks of a row, transposed so that each of sixteen lanes has four codes of one block: eight
//! `vpdpbusd` then give the exact sums of the blocks, and one FMA scales them by the weights' scales. The activations'
//! scales follow at the end of a section.
//!
//! - `one`: the rows of one token, one after the other; `direct`: what is quicker there than to arrange codes.
//! - `few`: the rows of a few tokens, sixteen at a time in slices.
#![expect(unsafe_code, reason = "vector loads")]

mod direct;
mod few;
mod one;

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::arrange::arranged;
use super::transpose::transpose;
use super::unpack::{Numbers, Stored};
use crate::Tile;
use crate::level::Level;
use crate::matmul::activations::{Arrangement, GROUP, Group};
use crate::matmul::gemv::FewKernel;
use crate::matmul::kernels::Rows;

/// Rows whose sums are added up together.
pub(super) const ROWS: usize = 16;

/// The kernel for weights stored as `S`.
pub(super) struct Few<S, const H: usize>(PhantomData<S>);

impl<S: Stored<H>, const H: usize> FewKernel for Few<S, H> {
    fn products(rows: &Rows<'_>, groups: &[Group], y: &mut Tile<'_, f32>) {
        assert!(Level::Avx512.is_available());
        if y.rows().len() == 1 {
            // SAFETY: the CPU has been asked.
            unsafe { one::products::<S, H>(rows, groups, y) }
        } else {
            // SAFETY: as above.
            unsafe { few::products::<S, H>(rows, groups, y) }
        }
    }
}

/// Adds the sums of a section's chains, times the scales `d` of the token's activations, one after the other, sixteen
/// rows at once.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_chains<const N: usize>(
    sums: &[[__m512; N]; ROWS],
    n: usize,
    d: &[f32; GROUP],
    total: &mut __m512,
) {
    let mut rows = [_mm512_setzero_si512(); ROWS];
    for i in 0..ROWS {
        rows[i] = _mm512_castps_si512(sums[i][n]);
    }
    let chains = transpose(rows);
    for chain in 0..GROUP {
        let lane = Arrangement::Dwords.lane(chain);
        let sum = _mm512_castsi512_ps(chains[lane]);
        *total = _mm512_fmadd_ps(sum, _mm512_set1_ps(d[lane]), *total);
    }
}

/// Writes the results of a token for some neighbouring rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn write(totals: __m512, y: &mut [f32]) {
    let mask = ((1u32 << y.len().min(ROWS)) - 1) as __mmask16;
    // SAFETY: the mask lets through only elements of `y`.
    unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, totals) };
}

/// Sixteen blocks of a row: codes arranged as those of the activations, and numbers.
#[derive(Clone, Copy)]
pub(super) struct Unpacked<const H: usize> {
    codes: [__m512i; 8],
    numbers: Numbers<H>,
}

/// Sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn unpacked<S: Stored<H>, const H: usize>(weights: &[u8]) -> Unpacked<H> {
    let codes = arranged::<S, H>(weights);
    // SAFETY: this function has the instructions.
    let numbers = unsafe { S::numbers(weights) };
    Unpacked { codes, numbers }
}

/// The numbers of the first `n_blocks` of sixteen blocks, fewer than all, and zeros for the others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn present<const H: usize>(mut numbers: Numbers<H>, n_blocks: usize) -> Numbers<H> {
    let lanes = LANES_OF_FIRST[n_blocks];
    for h in 0..H {
        numbers.scales[h] = _mm512_maskz_mov_ps(lanes, numbers.scales[h]);
        numbers.minima[h] = _mm512_maskz_mov_ps(lanes, numbers.minima[h]);
    }
    numbers
}

/// By number of blocks, the lanes of the first so many.
const LANES_OF_FIRST: [__mmask16; GROUP] = {
    let mut masks = [0; GROUP];
    let mut n = 0;
    while n + 1 < GROUP {
        masks[n + 1] = masks[n] | 1 << Arrangement::Dwords.lane(n);
        n += 1;
    }
    masks
};

/// Adds the products of sixteen blocks of `R` rows with a token, but for the token's scales, to the sixteen sums of
/// each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn multiply<S: Stored<H>, const H: usize, const R: usize>(
    weights: &[Unpacked<H>; R],
    x: &Group,
    mut sums: [__m512; R],
) -> [__m512; R] {
    let mut products = [[_mm512_setzero_si512(); 2]; R];
    for h in 0..H {
        let zero = of_zeros::<S, H>(x, h);
        for r in 0..R {
            products[r][h] = zero;
        }
    }
    for j in 0..8 {
        let x = line(&x.codes.as_flattened()[j]);
        // Two sums even of whole blocks, so that neither waits long for itself.
        for r in 0..R {
            products[r][j / 4] = _mm512_dpbusd_epi32(products[r][j / 4], weights[r].codes[j], x);
        }
    }
    for r in 0..R {
        sums[r] = scaled_halves::<S, H>(products[r], &weights[r].numbers, x, sums[r]);
    }
    sums
}

/// What is to be added to the products with codes, since the code of zero is another number, if it is.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn of_zeros<S: Stored<H>, const H: usize>(x: &Group, h: usize) -> __m512i {
    if S::HAS_MIN {
        return _mm512_setzero_si512();
    }
    // `init` is -128 times the sum of the activations; the weights' zero is a smaller power of two.
    _mm512_sra_epi32(init::<H>(x, h), _mm_cvtsi32_si128(7 - S::ZERO_LOG2 as i32))
}

/// Adds the products of the first and of the last halves of sixteen blocks, times the weights' scales, and what minima
/// give.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn scaled_halves<S: Stored<H>, const H: usize>(
    mut products: [__m512i; 2],
    numbers: &Numbers<H>,
    x: &Group,
    mut sums: __m512,
) -> __m512 {
    if H == 1 {
        products[0] = _mm512_add_epi32(products[0], products[1]);
    }
    for h in 0..H {
        sums = scaled::<S, H>(products[h], numbers, x, h, sums);
    }
    sums
}

/// Adds sixteen products of whole blocks, or of halves, times the weights' scales, and what minima give.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn scaled<S: Stored<H>, const H: usize>(
    products: __m512i,
    numbers: &Numbers<H>,
    x: &Group,
    h: usize,
    sums: __m512,
) -> __m512 {
    let sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), numbers.scales[h], sums);
    if !S::HAS_MIN {
        return sums;
    }
    let sum = if H == 1 { floats(&x.sum) } else { sum_of_codes(init::<H>(x, h)) };
    _mm512_fmadd_ps(numbers.minima[h], sum, sums)
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

/// The sums of the activations' codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn sum_of_codes(init: __m512i) -> __m512 {
    _mm512_mul_ps(_mm512_cvtepi32_ps(init), _mm512_set1_ps(-1.0 / 128.0))
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
