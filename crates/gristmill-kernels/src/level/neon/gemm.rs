//! Many tokens: eight rows of weights, unpacked, times four tokens. A register has four rows in its lanes.

use std::array::{from_fn, from_mut};
use std::marker::PhantomData;

use super::multiply::{FourRows, Multiply, Work};
use super::ops::*;
use super::unpack::Stored;
use super::{CHAINS, add_scaled};
use crate::Tile;
use crate::level::prefetch::prefetch;
use crate::matmul::activations::{Activations, Column};
use crate::matmul::gemm::{TileKernel, blocks};
use crate::matmul::kernels::{Form, Rows, TileShape};
use crate::matmul::order::{Cut, Order};
use crate::matmul::padding::Padding;

/// Rows of a panel.
const ROWS: usize = 8;
/// Registers that have them in their lanes.
const FOURS: usize = ROWS / 4;

/// Eight rows of one block, unpacked.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Block {
    /// The first and the last sixteen codes of each row.
    codes: [[FourRows; 2]; FOURS],
    /// Scales: those of the halves, where halves have their own.
    d: [[[f32; 4]; FOURS]; 2],
    /// Minima, likewise.
    m: [[[f32; 4]; FOURS]; 2],
}

impl Block {
    const ZERO: Block = Block {
        codes: [[[[0; 16]; 4]; 2]; FOURS],
        d: [[[0.0; 4]; FOURS]; 2],
        m: [[[0.0; 4]; FOURS]; 2],
    };
}

blocks!(Block);

/// The kernel for weights stored as `S`.
pub(crate) struct Int8<M, S, const H: usize>(PhantomData<(M, S)>);

impl<M: Multiply, S: Stored<H>, const H: usize> TileKernel for Int8<M, S, H> {
    type Block = Block;
    type Column = Column;
    const ROWS: usize = ROWS;
    const STEP: usize = 32;
    const FORM: Form = Form::Int8;
    const SHAPE: TileShape = TileShape { tokens: 4, cut: Cut::chains(CHAINS) };

    fn columns(x: &Activations) -> &[Column] {
        x.columns()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Block]) {
        let last = rows.n_rows() - 1;
        let mut padding = [const { Padding::new() }; 4];
        for four in 0..FOURS {
            // Rows that are not there are copies of the last; nobody looks at their sums.
            let rows: [&[u8]; 4] = from_fn(|r| rows.from(last.min(4 * four + r)));
            for start in (0..order.n_steps()).step_by(8) {
                let mut padding = padding.iter_mut();
                let eights = rows.map(|row| {
                    let rest = &row[start / 8 * S::EIGHT_BYTES..];
                    padding.next().expect("one for each row").whole(rest, S::EIGHT_BYTES)
                });
                eights.iter().for_each(|eight| prefetch(eight, 4 * eight.len()));
                pack_eight::<M, S, H>(eights, four, panel, order, start);
            }
        }
    }

    fn tile(panel: &[Block], columns: &[Column], order: Order, _: &[u8], y: &mut Tile<'_, f32>) {
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match (y.rows().len(), S::HAS_MIN) {
                    $(
                        ($n, false) => {
                            let columns = columns.as_chunks::<$n>().0;
                            M::run(RegisterTile::<H, false, $n> { panel, columns, order, y });
                        }
                        ($n, true) => {
                            let columns = columns.as_chunks::<$n>().0;
                            M::run(RegisterTile::<H, true, $n> { panel, columns, order, y });
                        }
                    )*
                    (n, _) => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4);
    }
}

/// Unpacks up to eight blocks of four rows, from block `start` on.
#[inline(always)]
fn pack_eight<M: Multiply, S: Stored<H>, const H: usize>(
    eights: [&[u8]; 4],
    four: usize,
    panel: &mut [Block],
    order: Order,
    start: usize,
) {
    let n_blocks = (order.n_steps() - start).min(8);
    for b in 0..n_blocks {
        let codes = &mut panel[order.place(start + b)].codes[four];
        for half in 0..2 {
            let rows = eights.map(|eight| S::codes(eight, b, half));
            for (codes, arranged) in codes[half].iter_mut().zip(M::arrange(rows)) {
                vst1q_s8(codes, arranged);
            }
        }
    }
    let (d, m) = (eights.map(S::scales), eights.map(S::minima));
    for h in 0..H {
        for q in 0..2 {
            let d = transpose_f32(d.map(|row| row[h][q]));
            let m = transpose_f32(m.map(|row| row[h][q]));
            for (b, (d, m)) in (4 * q..n_blocks).zip(d.into_iter().zip(m)) {
                let block = &mut panel[order.place(start + b)];
                vst1q_f32(&mut block.d[h][four], d);
                vst1q_f32(&mut block.m[h][four], m);
            }
        }
    }
}

/// The sums of a tile of `N` tokens, which stay in registers while a chain is walked.
struct RegisterTile<'a, 'y, const H: usize, const HAS_MIN: bool, const N: usize> {
    panel: &'a [Block],
    columns: &'a [[Column; N]],
    order: Order,
    y: &'a mut Tile<'y, f32>,
}

/// The sums of all rows with `N` tokens.
type Sums<const N: usize> = [[float32x4_t; FOURS]; N];

impl<const H: usize, const HAS_MIN: bool, const N: usize> Work
    for RegisterTile<'_, '_, H, HAS_MIN, N>
{
    #[inline(always)]
    fn run<M: Multiply>(self) {
        let RegisterTile { panel, columns, order, y } = self;
        let zero = [[vdupq_n_f32(0.0); FOURS]; N];
        let mut totals = zero;
        for chain in order.whole().chains() {
            let mut sums = zero;
            for (block, x) in panel[chain.clone()].iter().zip(&columns[chain]) {
                add_block::<M, H, HAS_MIN, N>(block, x, &mut sums);
            }
            add(&mut totals, sums);
        }
        let first = y.rows().start;
        for n in 0..N {
            let y = y.row_mut(first + n);
            for (y, total) in y.chunks_mut(4).zip(totals[n]) {
                let mut values = [0.0; 4];
                vst1q_f32(&mut values, total);
                y.copy_from_slice(&values[..y.len()]);
            }
        }
    }
}

/// Adds the sums of a chain.
#[inline(always)]
fn add<const N: usize>(totals: &mut Sums<N>, sums: Sums<N>) {
    for (total, sum) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        *total = vaddq_f32(*total, *sum);
    }
}

/// Adds the products of a block of all rows with `N` tokens, which go two by two.
#[inline(always)]
fn add_block<M: Multiply, const H: usize, const HAS_MIN: bool, const N: usize>(
    block: &Block,
    x: &[Column; N],
    sums: &mut Sums<N>,
) {
    let (pairs, single) = sums.as_chunks_mut::<2>();
    for (sums, x) in pairs.iter_mut().zip(x.as_chunks::<2>().0) {
        add_tokens::<M, H, HAS_MIN, 2>(block, x, sums);
    }
    if let [sums] = single {
        let x = std::slice::from_ref(&x[N - 1]).as_chunks().0;
        add_tokens::<M, H, HAS_MIN, 1>(block, &x[0], from_mut(sums));
    }
}

/// Adds the products of a block of all rows with one token or two.
#[inline(always)]
fn add_tokens<M: Multiply, const H: usize, const HAS_MIN: bool, const N: usize>(
    block: &Block,
    x: &[Column; N],
    sums: &mut Sums<N>,
) {
    let codes: [[int8x16_t; 2]; N] = from_fn(|n| {
        let halves = x[n].codes.as_flattened().as_chunks().0;
        [vld1q_s8(&halves[0]), vld1q_s8(&halves[1])]
    });
    for four in 0..FOURS {
        let [first, last] = &block.codes[four];
        let products = M::products::<H, N>([first, last], codes);
        for h in 0..H {
            let d = vld1q_f32(&block.d[h][four]);
            for n in 0..N {
                let m =
                    HAS_MIN.then(|| (vld1q_f32(&block.m[h][four]), vdupq_n_f32(x[n].sum::<H>(h))));
                let scale = vmulq_f32(d, vdupq_n_f32(x[n].d));
                sums[n][four] = add_scaled(sums[n][four], products[n][h], scale, m);
            }
        }
    }
}
