//! Integer products of quantized weights: codes widened to 16 bits, eight rows at a time.

use std::marker::PhantomData;

use wide::{i8x16, i16x16, i32x8};

use crate::Tile;
use crate::matmul::activations::{Activations, Column};
use crate::matmul::blocks::Blocks;
use crate::matmul::gemm::{TileKernel, blocks};
use crate::matmul::kernels::{Form, Rows, TileShape};
use crate::matmul::order::{Cut, Order};

const ROWS: usize = 8;

/// Eight rows of one block.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// `code - zero`: the first and the last sixteen of each row.
    codes: [[i16x16; 2]; ROWS],
    /// Scales of the halves, which are the same where a block has one.
    d: [[f32; 2]; ROWS],
    m: [[f32; 2]; ROWS],
}

impl Block {
    const ZERO: Block =
        Block { codes: [[i16x16::ZERO; 2]; ROWS], d: [[0.0; 2]; ROWS], m: [[0.0; 2]; ROWS] };
}

blocks!(Block);

/// The kernel for weights stored as `B`.
pub(crate) struct Int8<B, const H: usize>(PhantomData<B>);

impl<B: Blocks<H>, const H: usize> TileKernel for Int8<B, H> {
    type Block = Block;
    type Column = Column;
    const ROWS: usize = ROWS;
    const STEP: usize = 32;
    const FORM: Form = Form::Int8;
    const SHAPE: TileShape = TileShape { tokens: 1, cut: Cut::chains(1) };
    fn columns(x: &Activations) -> &[Column] {
        x.columns()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Block]) {
        let zero = if B::HAS_MIN { 0 } else { 1 << B::ZERO_LOG2 };
        for (r, row) in rows.iter().enumerate() {
            for step in 0..order.n_steps() {
                let (eight, b) = (&row[step / 8 * B::EIGHT_BYTES..], step % 8);
                let eight = &eight[..eight.len().min(B::EIGHT_BYTES)];
                let block = &mut panel[order.place(step)];
                for half in 0..2 {
                    let codes = B::sixteen(eight, b, half);
                    block.codes[r][half] = i16x16::new(codes.map(|code| i16::from(code) - zero));
                    let h = half.min(H - 1);
                    block.d[r][half] = B::scale(eight, b, h);
                    block.m[r][half] = if B::HAS_MIN { B::minimum(eight, b, h) } else { 0.0 };
                }
            }
        }
    }

    fn tile(panel: &[Block], columns: &[Column], order: Order, _: &[u8], y: &mut Tile<'_, f32>) {
        let mut sums = [0.0; ROWS];
        // There is only one chain.
        for (block, x) in panel.iter().zip(columns).take(order.n_steps()) {
            add_block::<B, H>(block, x, &mut sums);
        }
        let token = y.rows().start;
        let y = y.row_mut(token);
        y.copy_from_slice(&sums[..y.len()]);
    }
}

#[inline]
fn add_block<B: Blocks<H>, const H: usize>(block: &Block, x: &Column, sums: &mut [f32; ROWS]) {
    let codes: [i8; 32] = *x.codes.as_flattened().first_chunk().expect("a block");
    let codes = [0, 1].map(|half| {
        let sixteen = codes.as_chunks::<16>().0[half];
        i16x16::from_i8x16(i8x16::new(sixteen))
    });
    for r in 0..ROWS {
        let products: [i32x8; 2] = [0, 1].map(|half| block.codes[r][half].dot(codes[half]));
        let products = if H == 1 { [products[0] + products[1], i32x8::ZERO] } else { products };
        for h in 0..H {
            sums[r] += products[h].reduce_add() as f32 * (block.d[r][h] * x.d);
            if B::HAS_MIN {
                sums[r] += block.m[r][h] * x.sum::<H>(h);
            }
        }
    }
}
