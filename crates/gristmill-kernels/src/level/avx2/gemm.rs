//! Many tokens: sixteen rows of weights times a few tokens in registers.
//!
//! A panel holds sixteen rows side by side: of each block of 32 weights, register `j` has bytes `4 j .. 4 j + 4` of
//! eight rows. Products stay in 16-bit sums as long as they fit, so that the widening is paid once or twice per block.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use super::gemv::{multiply, prefetch, zero_shift};
use super::unpack::{codes, minima, scales};
use crate::Tile;
use crate::level::Level;
use crate::matmul::activations::{Activations, GROUP, Group};
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;
use crate::matmul::layout::Layout;

/// Sixteen rows of one block, unpacked and transposed.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block {
    codes: [[__m256i; 2]; 8],
    d: [__m256; 2],
    m: [__m256; 2],
}

impl Block {
    // SAFETY: all bits zero are integers and floats.
    const ZERO: Block = unsafe { std::mem::zeroed() };
}

/// The kernel for layout `L`.
pub(crate) struct Int8<L>(PhantomData<L>);

impl<L: Layout> TileKernel for Int8<L> {
    type Block = Block;
    const ROWS: usize = 16;
    const TOKENS: usize = 4;
    const STEP: usize = 32;
    const SLICE: usize = 2 * GROUP;
    const ZERO: Block = Block::ZERO;

    fn scratch() -> &'static LocalKey<RefCell<Vec<Block>>> {
        thread_local! { static PANEL: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block]) {
        assert!(Level::Avx2.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::<L>(rows, steps, panel) }
    }

    fn tile(panel: &[Block], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx2.is_available());
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match y.rows().len() {
                    // SAFETY: the CPU has been asked.
                    $($n => unsafe { tile::<L, $n>(panel, x, steps, y) },)*
                    n => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn pack<L: Layout>(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block]) {
    let last = rows.n_rows() - 1;
    let slice = steps.start * L::BYTES..steps.end * L::BYTES;
    // What is packed next: the following slice of each row, or the first slice of the row a panel further on.
    let next =
        if slice.end < rows.row_bytes { slice.len() } else { 16 * rows.row_bytes - slice.start };
    for half in 0..2 {
        // Rows that are not there are copies of the last; nobody looks at their sums.
        let eight: [&[u8]; 8] =
            std::array::from_fn(|i| &rows.row(last.min(8 * half + i))[slice.clone()]);
        eight.iter().for_each(|row| prefetch(row, next));
        for (b, block) in panel.iter_mut().enumerate() {
            let stored = eight.map(|row| &row[b * L::BYTES..][..L::BYTES]);
            let mut rows = [_mm256_setzero_si256(); 8];
            for i in 0..8 {
                rows[i] = codes::<L>([stored[i]; 2], [0, 1]);
            }
            let columns = transpose(rows);
            for j in 0..8 {
                block.codes[j][half] = columns[j];
            }
            block.d[half] = scales::<L>(stored);
            if L::MIN.is_some() {
                block.m[half] = minima::<L>(stored);
            }
        }
    }
}

/// Dword `j` of register `i` goes to dword `i` of register `j`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
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

#[target_feature(enable = "avx2,fma,f16c")]
fn tile<L: Layout, const N: usize>(
    panel: &[Block],
    x: &Activations,
    steps: Range<usize>,
    y: &mut Tile<'_, f32>,
) {
    let first = y.rows().start;
    let mut columns: [&[Group]; N] = [&[]; N];
    for n in 0..N {
        columns[n] = &x.int8_row(first + n)[steps.start / GROUP..];
    }
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (g, blocks) in panel.chunks(GROUP).enumerate() {
        let mut group = [&columns[0][g]; N];
        for n in 1..N {
            group[n] = &columns[n][g];
        }
        for (q, blocks) in blocks.chunks(4).enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                for n in 0..N {
                    add_block::<L>(block, group[n], q, i, &mut sums[n]);
                }
            }
        }
    }
    for n in 0..N {
        write(sums[n], steps.start == 0, y.row_mut(first + n));
    }
}

/// Adds the products of one block of sixteen rows with one token.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block<L: Layout>(block: &Block, x: &Group, q: usize, i: usize, sums: &mut [__m256; 2]) {
    /// How many products, added in pairs, fit 16 bits.
    const fn room<L: Layout>() -> usize {
        match (L::BITS, L::HIGH) {
            (8, _) => 1,
            (_, Some(_)) => 4,
            (_, None) => 8,
        }
    }
    let b = 4 * q + i;
    let ones = _mm256_set1_epi16(1);
    let mut products = [_mm256_setzero_si256(); 2];
    if let Some(shift) = zero_shift::<L>() {
        products = [_mm256_set1_epi32(x.init[b] >> shift); 2];
    }
    for start in (0..8).step_by(room::<L>()) {
        let mut narrow = [_mm256_setzero_si256(); 2];
        for j in start..start + room::<L>() {
            let four = x.codes[q][j / 4][i].as_chunks::<4>().0[j % 4];
            let four = _mm256_set1_epi32(i32::from_le_bytes(four.map(|code| code as u8)));
            for half in 0..2 {
                narrow[half] =
                    _mm256_add_epi16(narrow[half], multiply::<L>(block.codes[j][half], four));
            }
        }
        for half in 0..2 {
            products[half] =
                _mm256_add_epi32(products[half], _mm256_madd_epi16(narrow[half], ones));
        }
    }
    for half in 0..2 {
        let scale = _mm256_mul_ps(block.d[half], _mm256_set1_ps(x.d[b]));
        sums[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[half]), scale, sums[half]);
        if L::MIN.is_some() {
            sums[half] = _mm256_fmadd_ps(block.m[half], _mm256_set1_ps(x.dsum[b]), sums[half]);
        }
    }
}

/// Writes as many of the sums as `y` has elements, or adds them to what is there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn write(sums: [__m256; 2], first: bool, y: &mut [f32]) {
    let mut values = [0.0; 16];
    for half in 0..2 {
        // SAFETY: eight floats are there.
        unsafe { _mm256_storeu_ps(values[8 * half..8 * half + 8].as_mut_ptr(), sums[half]) };
    }
    for (y, value) in y.iter_mut().zip(values) {
        *y = if first { value } else { *y + value };
    }
}
