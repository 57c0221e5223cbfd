//! Many tokens: sixteen rows of weights times a few tokens in registers.
//!
//! A panel holds sixteen rows side by side: of each block of 32 weights, register `j` has bytes `4 j .. 4 j + 4` of
//! eight rows. Products stay in 16-bit sums as long as they fit, so that the widening is paid once or twice per block.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::gemv::{EIGHT, transpose};
use super::multiply::{self, Multiply, begin, end, ready, room, zero_shift};
use super::unpack::Stored;
use crate::Tile;
use crate::level::prefetch::{Ahead, prefetch};
use crate::matmul::activations::{Activations, Column};
use crate::matmul::gemm::{self, TileKernel, blocks};
use crate::matmul::kernels::{Form, Rows, TileShape};
use crate::matmul::order::{Cut, Order};
use crate::matmul::padding::Padding;

/// Sixteen rows of one block, unpacked and transposed, with `H` scales for each.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block<const H: usize> {
    codes: [[__m256i; 2]; 8],
    d: [[__m256; 2]; H],
    m: [[__m256; 2]; H],
}

impl<const H: usize> Block<H> {
    // SAFETY: all bits zero are integers and floats.
    const ZERO: Block<H> = unsafe { std::mem::zeroed() };
}

blocks!(Block<1> Block<2>);

/// The kernel for weights stored as `S`, multiplied as `M` says.
pub(crate) struct Int8<M, S, const H: usize>(PhantomData<(M, S)>);

impl<M: Multiply, S: Stored<H>, const H: usize> TileKernel for Int8<M, S, H>
where
    Block<H>: gemm::Block,
{
    type Block = Block<H>;
    type Column = Column;
    const ROWS: usize = 16;
    const STEP: usize = 32;
    const FORM: Form = Form::Int8;
    const SHAPE: TileShape = TileShape { tokens: 3, cut: Cut::chains(EIGHT) };

    fn columns(x: &Activations) -> &[Column] {
        x.columns()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Block<H>]) {
        assert!(M::LEVEL.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::<M, S, H>(rows, order, panel) }
    }

    fn tile(
        panel: &[Block<H>],
        columns: &[Column],
        order: Order,
        next: &[u8],
        y: &mut Tile<'_, f32>,
    ) {
        assert!(M::LEVEL.is_available());
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match y.rows().len() {
                    // SAFETY: the CPU has been asked.
                    $($n => unsafe { tile::<M, S, H, $n>(panel, columns, order, next, y) },)*
                    n => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn pack<M: Multiply, S: Stored<H>, const H: usize>(
    rows: &Rows<'_>,
    order: Order,
    panel: &mut [Block<H>],
) {
    let last = rows.n_rows() - 1;
    let mut padding = [const { Padding::new() }; EIGHT];
    for half in 0..2 {
        // Rows that are not there are copies of the last; nobody looks at their sums.
        let rows_of_half: [&[u8]; EIGHT] =
            std::array::from_fn(|i| rows.from(last.min(8 * half + i)));
        for start in (0..order.n_steps()).step_by(EIGHT) {
            let mut padding = padding.iter_mut();
            let eights = rows_of_half.map(|row| {
                let rest = &row[start / EIGHT * S::EIGHT_BYTES..];
                padding.next().expect("one for each row").whole(rest, S::EIGHT_BYTES)
            });
            eights.iter().for_each(|eight| prefetch(eight, 4 * eight.len()));
            pack_eight::<M, S, H>(eights, half, panel, order, start);
        }
    }
}

/// Unpacks up to eight blocks of eight rows, from block `start` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pack_eight<M: Multiply, S: Stored<H>, const H: usize>(
    rows: [&[u8]; 8],
    half: usize,
    panel: &mut [Block<H>],
    order: Order,
    start: usize,
) {
    let n_blocks = EIGHT.min(order.n_steps() - start);
    for b in 0..n_blocks {
        let mut codes = [_mm256_setzero_si256(); 8];
        for i in 0..8 {
            // SAFETY: this function has the instructions.
            codes[i] = ready::<M, S, H>(unsafe { S::codes(rows[i], [(b, 0), (b, 1)]) });
        }
        let columns = transpose(codes);
        let block = &mut panel[order.place(start + b)];
        for j in 0..8 {
            block.codes[j][half] = columns[j];
        }
    }
    let mut d = [[_mm256_setzero_si256(); 8]; H];
    let mut m = d;
    for i in 0..8 {
        // SAFETY: this function has the instructions.
        let scales = unsafe { S::scales(rows[i]) };
        // SAFETY: as above.
        let minima = unsafe { S::minima(rows[i]) };
        for h in 0..H {
            d[h][i] = _mm256_castps_si256(scales[h]);
            m[h][i] = _mm256_castps_si256(minima[h]);
        }
    }
    for h in 0..H {
        let (d, m) = (transpose(d[h]), transpose(m[h]));
        for b in 0..n_blocks {
            let block = &mut panel[order.place(start + b)];
            block.d[h][half] = _mm256_castsi256_ps(d[b]);
            block.m[h][half] = _mm256_castsi256_ps(m[b]);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile<M: Multiply, S: Stored<H>, const H: usize, const N: usize>(
    panel: &[Block<H>],
    columns: &[Column],
    order: Order,
    next: &[u8],
    y: &mut Tile<'_, f32>,
) {
    let columns = columns.as_chunks::<N>().0;
    let mut ahead = Ahead::new(next, order.n_steps());
    let mut totals = [[_mm256_setzero_ps(); 2]; N];
    for chain in order.whole().chains() {
        let mut sums = [[_mm256_setzero_ps(); 2]; N];
        for (block, x) in panel[chain.clone()].iter().zip(&columns[chain]) {
            ahead.ask();
            for h in 0..H {
                add_block::<M, S, H, N>(block, x, h, &mut sums);
            }
        }
        add(&mut totals, sums);
    }
    let first = y.rows().start;
    for n in 0..N {
        write(totals[n], y.row_mut(first + n));
    }
}

/// Adds the sums of a chain.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add<const N: usize>(totals: &mut [[__m256; 2]; N], sums: [[__m256; 2]; N]) {
    for n in 0..N {
        for half in 0..2 {
            totals[n][half] = _mm256_add_ps(totals[n][half], sums[n][half]);
        }
    }
}

/// Adds the products of one block of sixteen rows, or of its half `h` if halves have their own scales, with `N` tokens.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block<M: Multiply, S: Stored<H>, const H: usize, const N: usize>(
    block: &Block<H>,
    x: &[Column; N],
    h: usize,
    sums: &mut [[__m256; 2]; N],
) {
    let mut products = [[_mm256_setzero_si256(); 2]; N];
    if let Some(shift) = zero_shift::<M, S, H>() {
        for n in 0..N {
            products[n] = [_mm256_set1_epi32(x[n].init::<H>(h) >> shift); 2];
        }
    }
    let (dwords, room) = (8 / H, room::<M, S, H>().min(8 / H));
    for start in (h * dwords..(h + 1) * dwords).step_by(room) {
        let mut partial = products;
        partial.as_flattened_mut().iter_mut().for_each(|sums| *sums = begin::<M>(*sums));
        for j in start..start + room {
            for n in 0..N {
                let four = x[n].codes[j].map(|code| code as u8);
                let four = _mm256_set1_epi32(i32::from_le_bytes(four));
                for half in 0..2 {
                    let codes = block.codes[j][half];
                    partial[n][half] = multiply::add::<M, S, H>(partial[n][half], codes, four);
                }
            }
        }
        for n in 0..N {
            for half in 0..2 {
                products[n][half] = end::<M>(products[n][half], partial[n][half]);
            }
        }
    }
    for n in 0..N {
        for half in 0..2 {
            let scale = _mm256_mul_ps(block.d[h][half], _mm256_set1_ps(x[n].d));
            sums[n][half] =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[n][half]), scale, sums[n][half]);
            if S::HAS_MIN {
                let sum = _mm256_set1_ps(x[n].sum::<H>(h));
                sums[n][half] = _mm256_fmadd_ps(block.m[h][half], sum, sums[n][half]);
            }
        }
    }
}

/// Writes as many of the sums as `y` has elements.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn write(sums: [__m256; 2], y: &mut [f32]) {
    let mut values = [0.0; 16];
    for half in 0..2 {
        // SAFETY: eight floats are there.
        unsafe { _mm256_storeu_ps(values[8 * half..8 * half + 8].as_mut_ptr(), sums[half]) };
    }
    y.copy_from_slice(&values[..y.len()]);
}
