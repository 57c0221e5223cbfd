//! Many tokens: 32 rows of weights times a few tokens in registers, at the pace of the two VNNI pipes.
//!
//! A panel holds 32 rows side by side: of each block of 32 weights, register `j` has bytes `4 j .. 4 j + 4` of sixteen
//! rows. One dword of activations, broadcast, meets two such registers, so there is one broadcast load for two
//! `vpdpbusd` and no shuffle. Codes are stored plus 128 minus their zero, which makes every type unsigned with the same
//! correction, so that one tile kernel serves all. Per block of 32: 16 `vpdpbusd` per token, then per register a
//! conversion and an FMA with the weights' scale (and a second FMA for types with a minimum). The activations' scale
//! follows once for all blocks of a chain, which share it: multiplications take the pipes that `vpdpbusd` wants.
#![expect(unsafe_code, reason = "vector loads and stores")]

mod pack;

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::unpack::Stored;
use crate::Tile;
use crate::level::Level;
use crate::level::prefetch::Ahead;
use crate::matmul::activations::{Activations, Column, GROUP, SECTION};
use crate::matmul::gemm::{self, TileKernel, blocks};
use crate::matmul::kernels::{Form, Rows, TileShape};
use crate::matmul::order::{Cut, Order};

/// A chain has the blocks of a section whose activations share a scale.
const CUT: Cut = Cut { chains: GROUP, section: SECTION * GROUP };

/// 32 rows of one block, unpacked and transposed, with `H` scales for each.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block<const H: usize> {
    codes: [[__m512i; 2]; 8],
    d: [[__m512; 2]; H],
    m: [[__m512; 2]; H],
}

impl<const H: usize> Block<H> {
    // SAFETY: all bits zero are integers and floats.
    const ZERO: Block<H> = unsafe { std::mem::zeroed() };
}

blocks!(Block<1> Block<2>);

/// The kernel for weights stored as `S`.
pub(crate) struct Int8<S, const H: usize>(PhantomData<S>);

impl<S: Stored<H>, const H: usize> TileKernel for Int8<S, H>
where
    Block<H>: gemm::Block,
{
    type Block = Block<H>;
    type Column = Column;
    const ROWS: usize = 32;
    const STEP: usize = 32;
    const FORM: Form = Form::Int8;
    const SHAPE: TileShape = TileShape { tokens: 6, cut: CUT };

    fn columns(x: &Activations) -> &[Column] {
        x.columns()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Block<H>]) {
        assert!(Level::Avx512.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::pack::<S, H>(rows, order, panel) }
    }

    fn tile(
        panel: &[Block<H>],
        columns: &[Column],
        order: Order,
        next: &[u8],
        y: &mut Tile<'_, f32>,
    ) {
        assert!(Level::Avx512.is_available());
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match (y.rows().len(), S::HAS_MIN) {
                    // SAFETY: the CPU has been asked.
                    $(($n, false) => unsafe { tile::<H, $n, false>(panel, columns, order, next, y) },
                    // SAFETY: as above.
                    ($n, true) => unsafe { tile::<H, $n, true>(panel, columns, order, next, y) },)*
                    (n, _) => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn tile<const H: usize, const N: usize, const MIN: bool>(
    panel: &[Block<H>],
    columns: &[Column],
    order: Order,
    next: &[u8],
    y: &mut Tile<'_, f32>,
) {
    let columns = columns.as_chunks::<N>().0;
    let mut ahead = Ahead::new(next, order.n_steps());
    let mut totals = [[_mm512_setzero_ps(); 2]; N];
    for section in order.sections() {
        for chain in section.chains() {
            let mut sums = [[_mm512_setzero_ps(); 2]; N];
            let (blocks, x) = (&panel[chain.clone()], &columns[chain]);
            for (block, x) in blocks.iter().zip(x) {
                ahead.ask();
                for h in 0..H {
                    add_block::<H, N, MIN>(block, x, h, &mut sums);
                }
            }
            for n in 0..N {
                let d = _mm512_set1_ps(x[0][n].d);
                for half in 0..2 {
                    totals[n][half] = _mm512_fmadd_ps(sums[n][half], d, totals[n][half]);
                }
            }
        }
    }
    write(totals, y);
}

/// Adds the sums of a chain.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn add<const N: usize>(totals: &mut [[__m512; 2]; N], sums: [[__m512; 2]; N]) {
    for n in 0..N {
        for half in 0..2 {
            totals[n][half] = _mm512_add_ps(totals[n][half], sums[n][half]);
        }
    }
}

/// Adds the products of one block, or of its half `h` if halves have their own scales, but for the activations' scale.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_block<const H: usize, const N: usize, const MIN: bool>(
    block: &Block<H>,
    x: &[Column; N],
    h: usize,
    sums: &mut [[__m512; 2]; N],
) {
    let mut products = [[_mm512_setzero_si512(); 2]; N];
    for n in 0..N {
        products[n] = [_mm512_set1_epi32(x[n].init::<H>(h)); 2];
    }
    for j in h * 4..(h + 2 / H) * 4 {
        let codes = block.codes[j];
        for n in 0..N {
            let four = x[n].codes[j].map(|code| code as u8);
            let four = _mm512_set1_epi32(i32::from_le_bytes(four));
            for half in 0..2 {
                products[n][half] = _mm512_dpbusd_epi32(products[n][half], codes[half], four);
            }
        }
    }
    for n in 0..N {
        for half in 0..2 {
            let product = _mm512_cvtepi32_ps(products[n][half]);
            sums[n][half] = _mm512_fmadd_ps(product, block.d[h][half], sums[n][half]);
            if MIN {
                let sum = _mm512_set1_ps(x[n].sum_of_codes::<H>(h));
                sums[n][half] = _mm512_fmadd_ps(block.m[h][half], sum, sums[n][half]);
            }
        }
    }
}

/// Writes the sums of a tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn write<const N: usize>(sums: [[__m512; 2]; N], y: &mut Tile<'_, f32>) {
    let (n_tokens, n_rows) = (y.rows().len(), y.columns().len());
    assert!(n_tokens == N && n_rows <= 32, "the tile's size");
    let masks = [(1u32 << n_rows.min(16)) - 1, (1u32 << n_rows.saturating_sub(16)) - 1];
    let (start, stride) = y.raw();
    for n in 0..N {
        for half in 0..2 {
            let (mask, at) = (masks[half] as __mmask16, start.wrapping_add(n * stride + 16 * half));
            // SAFETY: the mask lets through only elements of the tile, which is ours to write.
            unsafe { _mm512_mask_storeu_ps(at, mask, sums[n][half]) };
        }
    }
}
