//! F16 and BF16 weights times one token in F16.
//!
//! Half the bytes of activations stay in the nearest cache beside the stream of weights, whose pace memory sets.
#![expect(unsafe_code, reason = "vector loads, and functions with target features")]

use std::arch::x86_64::*;

use crate::Tile;
use crate::level::Level;
use crate::level::prefetch::Stream;
use crate::matmul::activations::{Activations, BLOCK};
use crate::matmul::columns::PairColumn;
use crate::matmul::kernels::{Form, Rows, Way};

/// Bytes of a stored block of 32.
const BLOCK_BYTES: usize = 2 * BLOCK;

/// How stored weights are widened.
pub(super) trait Stored: 'static {
    /// Sixteen of them.
    ///
    /// # Safety
    /// The CPU has the instructions of this level.
    unsafe fn widen(words: __m256i) -> __m512;
}

pub(super) struct F16;
pub(super) struct Bf16;

impl Stored for F16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn widen(words: __m256i) -> __m512 {
        _mm512_cvtph_ps(words)
    }
}

impl Stored for Bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn widen(words: __m256i) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(words)))
    }
}

/// The way to multiply weights stored as `S`.
pub(super) fn way<S: Stored>() -> Way {
    let kernel = |rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>| {
        assert!(Level::Avx512.is_available());
        let token = y.rows().start;
        let (columns, factor) = x.f16_row(token);
        // SAFETY: the CPU has been asked.
        unsafe { products::<S>(rows, columns, factor, y.row_mut(token)) };
    };
    Way { kernel, form: Form::F16, tiles: None }
}

/// The product of each row with `x`, times `factor`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn products<S: Stored>(rows: &Rows<'_>, x: &[PairColumn], factor: f32, y: &mut [f32]) {
    let stream = Stream::of_this_cpu(16);
    for (row, y) in rows.iter().zip(y) {
        let (whole, rest) = row.as_chunks::<BLOCK_BYTES>();
        let mut sums = [_mm512_setzero_ps(); 2];
        for (bytes, x) in whole.iter().zip(x) {
            stream.ask(bytes, BLOCK_BYTES);
            // SAFETY: 64 bytes are there.
            let weights = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            sums = add::<S>(sums, weights, x);
        }
        if !rest.is_empty() {
            let mask = u64::MAX >> (BLOCK_BYTES - rest.len());
            // SAFETY: the mask lets through only bytes that are there.
            let weights = unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) };
            sums = add::<S>(sums, weights, &x[whole.len()]);
        }
        *y = factor * _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
    }
}

/// Adds the products of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add<S: Stored>(sums: [__m512; 2], weights: __m512i, x: &PairColumn) -> [__m512; 2] {
    // SAFETY: 64 bytes are there.
    let x = unsafe { _mm512_loadu_si512(x.0.as_ptr().cast()) };
    let (low, high) = (_mm512_castsi512_si256(weights), _mm512_extracti64x4_epi64::<1>(weights));
    // SAFETY: this function has the instructions.
    let low = unsafe { S::widen(low) };
    // SAFETY: as above.
    let high = unsafe { S::widen(high) };
    [
        _mm512_fmadd_ps(low, _mm512_cvtph_ps(_mm512_castsi512_si256(x)), sums[0]),
        _mm512_fmadd_ps(high, _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(x)), sums[1]),
    ]
}
