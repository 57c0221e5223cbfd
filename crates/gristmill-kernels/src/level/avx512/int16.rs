//! F16 and BF16 weights times many tokens, as 16-bit integers: `vpdpwssd` does twice the products of f32 arithmetic.
//!
//! Weights and activations become blocks of 32 integers with a scale each, like quantized types, but of fourteen bits:
//! the rounding is a 16384th of the largest magnitude of the block, finer than that of f16 near it, and the 32
//! products of a block cannot overflow 32 bits. A single token has a way of its own, `one`; so the two differ in the last
//! bits.
#![expect(unsafe_code, reason = "functions with target features")]

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::gemm::{add, write};
use super::pairs::{Pairs, for_tokens, pack};
use super::quantize::scales_and_inverses;
use crate::Tile;
use crate::level::Level;
use crate::level::prefetch::Ahead;
use crate::matmul::activations::{Activations, BLOCK};
use crate::matmul::columns::{WIDEST, WideColumn};
use crate::matmul::gemm::{TileKernel, blocks};
use crate::matmul::kernels::{Form, Rows, TileShape};
use crate::matmul::order::{Cut, Order};

/// How stored 16-bit floats are widened.
pub(super) trait Stored: 'static {
    /// The low and the high one of each dword.
    ///
    /// # Safety
    /// The CPU has the instructions of this level.
    unsafe fn widen(pairs: __m512i) -> [__m512; 2];
}

pub(super) struct F16;
pub(super) struct Bf16;

impl Stored for F16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn widen(pairs: __m512i) -> [__m512; 2] {
        let low = _mm512_cvtepi32_epi16(pairs);
        let high = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(pairs));
        [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
    }
}

impl Stored for Bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn widen(pairs: __m512i) -> [__m512; 2] {
        let high = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32));
        [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(high)]
    }
}

/// 32 rows of a block: of each row sixteen pairs, and a scale.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Block {
    pairs: [[__m512i; 2]; BLOCK / 2],
    d: [__m512; 2],
}

impl Block {
    // SAFETY: all bits zero are integers and floats.
    const ZERO: Block = unsafe { std::mem::zeroed() };
}

blocks!(Block);

/// The tile kernel for weights stored as `S`.
pub(super) struct Int16<S>(PhantomData<S>);

impl<S: Stored> TileKernel for Int16<S> {
    type Block = Block;
    type Column = WideColumn;
    const ROWS: usize = 32;
    const STEP: usize = BLOCK;
    const FORM: Form = Form::Int16;
    // There is no kernel for one token whose order it must share.
    const SHAPE: TileShape = TileShape { tokens: 6, cut: Cut::chains(1) };

    fn columns(x: &Activations) -> &[WideColumn] {
        x.wide_columns()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Block]) {
        assert!(Level::Avx512.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::<Self>(rows, order, panel) }
    }

    fn tile(
        panel: &[Block],
        columns: &[WideColumn],
        order: Order,
        next: &[u8],
        y: &mut Tile<'_, f32>,
    ) {
        assert!(Level::Avx512.is_available());
        // SAFETY: the CPU has been asked.
        unsafe { for_tokens!(tile(panel, columns, order, next, y)) };
    }
}

impl<S: Stored> Pairs for Int16<S> {
    type Block = Block;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn put(pairs: [__m512i; BLOCK / 2], half: usize, block: &mut Block) {
        // The bits of magnitudes sort like the numbers, in sixteen bits as in more; NaN above all.
        let magnitude = _mm512_set1_epi16(i16::MAX);
        let mut largest = _mm512_setzero_si512();
        for pair in pairs {
            largest = _mm512_max_epu16(largest, _mm512_and_si512(pair, magnitude));
        }
        // SAFETY: this function has the instructions.
        let [low, high] = unsafe { S::widen(largest) };
        let amax = _mm512_max_epu32(_mm512_castps_si512(low), _mm512_castps_si512(high));
        let (d, inverse, usable) = scales_and_inverses(amax, WIDEST);
        block.d[half] = d;
        for (j, pair) in pairs.into_iter().enumerate() {
            // SAFETY: as above.
            let two = unsafe { S::widen(pair) };
            let low = _mm512_cvtps_epi32(_mm512_maskz_mul_ps(usable, two[0], inverse));
            let high = _mm512_cvtps_epi32(_mm512_maskz_mul_ps(usable, two[1], inverse));
            block.pairs[j][half] =
                _mm512_mask_blend_epi16(0xaaaa_aaaa, low, _mm512_slli_epi32::<16>(high));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn tile<const N: usize>(
    panel: &[Block],
    columns: &[WideColumn],
    order: Order,
    next: &[u8],
    y: &mut Tile<'_, f32>,
) {
    let columns = columns.as_chunks::<N>().0;
    let mut ahead = Ahead::new(next, order.n_steps());
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    for (block, x) in panel[..order.n_steps()].iter().zip(columns) {
        ahead.ask();
        let mut products = [[_mm512_setzero_si512(); 2]; N];
        for (j, pairs) in block.pairs.iter().enumerate() {
            for n in 0..N {
                let pair = _mm512_set1_epi32(x[n].pairs[j]);
                for half in 0..2 {
                    products[n][half] = _mm512_dpwssd_epi32(products[n][half], pairs[half], pair);
                }
            }
        }
        for n in 0..N {
            for half in 0..2 {
                let scale = _mm512_mul_ps(block.d[half], _mm512_set1_ps(x[n].d));
                let product = _mm512_cvtepi32_ps(products[n][half]);
                sums[n][half] = _mm512_fmadd_ps(product, scale, sums[n][half]);
            }
        }
    }
    let mut totals = [[_mm512_setzero_ps(); 2]; N];
    add(&mut totals, sums);
    write(totals, y);
}
