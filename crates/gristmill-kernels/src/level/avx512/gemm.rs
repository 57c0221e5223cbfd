//! Many tokens: 32 rows of weights times a few tokens in registers, at the pace of the two VNNI pipes.
//!
//! A panel holds 32 rows side by side: of each block of 32 weights, register `j` has bytes `4 j .. 4 j + 4` of sixteen
//! rows. One dword of activations, broadcast, meets two such registers, so there is one broadcast load for two
//! `vpdpbusd` and no shuffle. Codes are stored plus 128 minus their zero, which makes every type unsigned with the same
//! correction, so that one tile kernel serves all. Per block of 32: 16 `vpdpbusd` per token, then per register a
//! conversion, a product of the scales and an FMA (and a second FMA for types with a minimum).
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use super::gemv::prefetch;
use super::transpose::transpose;
use super::unpack::{minima, scales, split, stored, with_high};
use crate::Tile;
use crate::level::Level;
use crate::matmul::activations::{Activations, GROUP, Group};
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;
use crate::matmul::layout::Layout;

/// 32 rows of one block, unpacked and transposed.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block {
    codes: [[__m512i; 2]; 8],
    d: [__m512; 2],
    m: [__m512; 2],
}

impl Block {
    // SAFETY: all bits zero are integers and floats.
    const ZERO: Block = unsafe { std::mem::zeroed() };
}

/// The kernel for layout `L`.
pub(crate) struct Int8<L>(PhantomData<L>);

impl<L: Layout> TileKernel for Int8<L> {
    type Block = Block;
    const ROWS: usize = 32;
    const TOKENS: usize = 6;
    const STEP: usize = 32;
    const SLICE: usize = 2 * GROUP;
    const ZERO: Block = Block::ZERO;

    fn scratch() -> &'static LocalKey<RefCell<Vec<Block>>> {
        thread_local! { static PANEL: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block]) {
        assert!(Level::Avx512.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::<L>(rows, steps, panel) }
    }

    fn tile(panel: &[Block], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx512.is_available());
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match y.rows().len() {
                    // SAFETY: the CPU has been asked.
                    $($n => unsafe { tile::<L, $n>(panel, x, steps, y) },)*
                    n => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack<L: Layout>(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block]) {
    let last = rows.n_rows() - 1;
    let slice = steps.start * L::BYTES..steps.end * L::BYTES;
    // What is packed next: the following slice of each row, or the first slice of the row a panel further on.
    let next =
        if slice.end < rows.row_bytes { slice.len() } else { 32 * rows.row_bytes - slice.start };
    for half in 0..2 {
        // Rows that are not there are copies of the last; nobody looks at their sums.
        let sixteen: [&[u8]; 16] =
            std::array::from_fn(|i| &rows.row(last.min(16 * half + i))[slice.clone()]);
        for (g, blocks) in panel.chunks_mut(GROUP).enumerate() {
            let start = g * GROUP * L::BYTES;
            let group = sixteen.map(|row| &row[start..][..blocks.len() * L::BYTES]);
            group.iter().for_each(|row| prefetch(row, next));
            if blocks.len() == GROUP {
                pack_group::<L, true>(group, half, blocks);
            } else {
                pack_group::<L, false>(group, half, blocks);
            }
        }
    }
}

/// Unpacks up to sixteen blocks of sixteen rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack_group<L: Layout, const FULL: bool>(rows: [&[u8]; 16], half: usize, panel: &mut [Block]) {
    let zero = if L::MIN.is_some() { 0 } else { 1 << L::ZERO_LOG2 };
    let offset = _mm512_set1_epi8((128 - zero) as u8 as i8);
    // Plain nibbles are transposed before they are split, at half the price.
    let split_last = L::BITS == 4 && L::HIGH.is_none();
    for (q, blocks) in panel.chunks_mut(4).enumerate() {
        for part in 0..2 {
            if split_last && part == 1 {
                continue;
            }
            let mut codes = [_mm512_setzero_si512(); 16];
            for i in 0..16 {
                codes[i] = stored::<L, FULL>(rows[i], q, part);
                if !split_last {
                    codes[i] = with_high::<L, FULL>(split::<L>(codes[i], part), rows[i], q, part);
                }
            }
            let columns = transpose(codes);
            for (b, block) in blocks.iter_mut().enumerate() {
                for j in 0..4 {
                    let column = columns[4 * b + j];
                    if split_last {
                        block.codes[j][half] = _mm512_add_epi8(split::<L>(column, 0), offset);
                        block.codes[4 + j][half] = _mm512_add_epi8(split::<L>(column, 1), offset);
                    } else {
                        block.codes[4 * part + j][half] = _mm512_add_epi8(column, offset);
                    }
                }
            }
        }
    }
    let mut numbers = [_mm512_setzero_si512(); 16];
    for i in 0..16 {
        numbers[i] = _mm512_castps_si512(scales::<L, FULL>(rows[i]));
    }
    for (block, d) in panel.iter_mut().zip(transpose(numbers)) {
        block.d[half] = _mm512_castsi512_ps(d);
    }
    if L::MIN.is_some() {
        for i in 0..16 {
            numbers[i] = _mm512_castps_si512(minima::<L, FULL>(rows[i]));
        }
        for (block, m) in panel.iter_mut().zip(transpose(numbers)) {
            block.m[half] = _mm512_castsi512_ps(m);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn tile<L: Layout, const N: usize>(
    panel: &[Block],
    x: &Activations,
    steps: Range<usize>,
    y: &mut Tile<'_, f32>,
) {
    let first_group = steps.start / GROUP;
    let mut columns: [&[Group]; N] = [&[]; N];
    for n in 0..N {
        columns[n] = &x.int8_row(y.rows().start + n)[first_group..];
    }
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    for (g, blocks) in panel.chunks(GROUP).enumerate() {
        let mut group = [&columns[0][g]; N];
        for n in 1..N {
            group[n] = &columns[n][g];
        }
        for (q, blocks) in blocks.chunks(4).enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                add_block::<L, N>(block, group, q, i, &mut sums);
            }
        }
    }
    write(sums, steps.start == 0, y);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_block<L: Layout, const N: usize>(
    block: &Block,
    x: [&Group; N],
    q: usize,
    i: usize,
    sums: &mut [[__m512; 2]; N],
) {
    let b = 4 * q + i;
    let mut products = [[_mm512_setzero_si512(); 2]; N];
    for n in 0..N {
        products[n] = [_mm512_set1_epi32(x[n].init[b]); 2];
    }
    for j in 0..8 {
        let codes = block.codes[j];
        for n in 0..N {
            let four = x[n].codes[q][j / 4][i].as_chunks::<4>().0[j % 4];
            let four = _mm512_set1_epi32(i32::from_le_bytes(four.map(|code| code as u8)));
            for half in 0..2 {
                products[n][half] = _mm512_dpbusd_epi32(products[n][half], codes[half], four);
            }
        }
    }
    for n in 0..N {
        for half in 0..2 {
            let scale = _mm512_mul_ps(block.d[half], _mm512_set1_ps(x[n].d[b]));
            sums[n][half] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[n][half]), scale, sums[n][half]);
            if L::MIN.is_some() {
                sums[n][half] =
                    _mm512_fmadd_ps(block.m[half], _mm512_set1_ps(x[n].dsum[b]), sums[n][half]);
            }
        }
    }
}

/// Writes the sums of a tile, or adds them to what is there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn write<const N: usize>(sums: [[__m512; 2]; N], first: bool, y: &mut Tile<'_, f32>) {
    let (n_tokens, n_rows) = (y.rows().len(), y.columns().len());
    assert!(n_tokens == N && n_rows <= 32, "the tile's size");
    let masks = [(1u32 << n_rows.min(16)) - 1, (1u32 << n_rows.saturating_sub(16)) - 1];
    let (start, stride) = y.raw();
    for n in 0..N {
        for half in 0..2 {
            let (mask, at) = (masks[half] as __mmask16, start.wrapping_add(n * stride + 16 * half));
            let mut sum = sums[n][half];
            if !first {
                // SAFETY: the mask lets through only elements of the tile.
                sum = _mm512_add_ps(unsafe { _mm512_maskz_loadu_ps(mask, at) }, sum);
            }
            // SAFETY: as above, and the tile is ours to write.
            unsafe { _mm512_mask_storeu_ps(at, mask, sum) };
        }
    }
}
