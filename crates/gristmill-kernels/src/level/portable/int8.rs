//! Integer products of quantized weights: codes widened to 16 bits, eight rows at a time.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use wide::{i8x16, i16x16, i32x8};

use crate::Tile;
use crate::matmul::activations::{Activations, GROUP, Group};
use crate::matmul::blocks::Blocks;
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;

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

/// The kernel for weights stored as `B`.
pub(crate) struct Int8<B, const H: usize>(PhantomData<B>);

impl<B: Blocks<H>, const H: usize> TileKernel for Int8<B, H> {
    type Block = Block;
    const ROWS: usize = ROWS;
    const TOKENS: usize = 1;
    const STEP: usize = 32;
    const SLICE: usize = 2 * GROUP;
    const ZERO: Block =
        Block { codes: [[i16x16::ZERO; 2]; ROWS], d: [[0.0; 2]; ROWS], m: [[0.0; 2]; ROWS] };

    fn scratch() -> &'static LocalKey<RefCell<Vec<Block>>> {
        thread_local! { static PANEL: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block]) {
        let zero = if B::HAS_MIN { 0 } else { 1 << B::ZERO_LOG2 };
        for (r, row) in rows.iter().enumerate() {
            let eights = row[steps.start / 8 * B::EIGHT_BYTES..].chunks(B::EIGHT_BYTES);
            for (blocks, eight) in panel.chunks_mut(8).zip(eights) {
                for (b, block) in blocks.iter_mut().enumerate() {
                    for half in 0..2 {
                        let codes = B::sixteen(eight, b, half);
                        block.codes[r][half] =
                            i16x16::new(codes.map(|code| i16::from(code) - zero));
                        let h = half.min(H - 1);
                        block.d[r][half] = B::scale(eight, b, h);
                        block.m[r][half] = if B::HAS_MIN { B::minimum(eight, b, h) } else { 0.0 };
                    }
                }
            }
        }
    }

    fn tile(panel: &[Block], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        let token = y.rows().start;
        let x = &x.int8_row(token)[steps.start / GROUP..];
        let mut sums = [0.0; ROWS];
        for (blocks, x) in panel.chunks(GROUP).zip(x) {
            for (b, block) in blocks.iter().enumerate() {
                add_block::<B, H>(block, x, b, &mut sums);
            }
        }
        for (y, sum) in y.row_mut(token).iter_mut().zip(sums) {
            *y = if steps.start == 0 { sum } else { *y + sum };
        }
    }
}

#[inline]
fn add_block<B: Blocks<H>, const H: usize>(
    block: &Block,
    x: &Group,
    b: usize,
    sums: &mut [f32; ROWS],
) {
    let codes = [0, 1].map(|half| i16x16::from_i8x16(i8x16::new(x.codes[b / 4][half][b % 4])));
    let first = x.d[b] * (x.init_first[b] as f32 / -128.0);
    let last = x.d[b] * ((x.init[b] - x.init_first[b]) as f32 / -128.0);
    for r in 0..ROWS {
        let products: [i32x8; 2] = [0, 1].map(|half| block.codes[r][half].dot(codes[half]));
        let (d, m) = (block.d[r], block.m[r]);
        if H == 1 {
            sums[r] += (products[0] + products[1]).reduce_add() as f32 * (d[0] * x.d[b]);
            if B::HAS_MIN {
                sums[r] += m[0] * x.dsum[b];
            }
            continue;
        }
        sums[r] += products[0].reduce_add() as f32 * (d[0] * x.d[b]);
        sums[r] += products[1].reduce_add() as f32 * (d[1] * x.d[b]);
        if B::HAS_MIN {
            sums[r] += m[0] * first;
            sums[r] += m[1] * last;
        }
    }
}
