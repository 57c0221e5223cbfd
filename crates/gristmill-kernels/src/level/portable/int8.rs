//! Integer products of quantized weights: codes widened to 16 bits, eight rows at a time.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use half::f16;
use wide::{i8x16, i16x16, i32x8};

use crate::Tile;
use crate::matmul::activations::{Activations, GROUP, Group};
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;
use crate::matmul::layout::Layout;

const ROWS: usize = 8;

/// Eight rows of one block.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// `code - zero`: the first and the last sixteen of each row.
    codes: [[i16x16; 2]; ROWS],
    d: [f32; ROWS],
    m: [f32; ROWS],
}

/// The kernel for layout `L`.
pub(crate) struct Int8<L>(PhantomData<L>);

impl<L: Layout> TileKernel for Int8<L> {
    type Block = Block;
    const ROWS: usize = ROWS;
    const TOKENS: usize = 1;
    const STEP: usize = 32;
    const SLICE: usize = 2 * GROUP;
    const ZERO: Block = Block { codes: [[i16x16::ZERO; 2]; ROWS], d: [0.0; ROWS], m: [0.0; ROWS] };

    fn scratch() -> &'static LocalKey<RefCell<Vec<Block>>> {
        thread_local! { static PANEL: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block]) {
        for (r, row) in rows.iter().enumerate() {
            let stored = row[steps.start * L::BYTES..].chunks_exact(L::BYTES);
            for (block, stored) in panel.iter_mut().zip(stored) {
                block.codes[r] = [unpack::<L>(stored, 0), unpack::<L>(stored, 1)];
                block.d[r] = number(stored, L::SCALE);
                block.m[r] = L::MIN.map_or(0.0, |min| number(stored, min));
            }
        }
    }

    fn tile(panel: &[Block], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        let token = y.rows().start;
        let x = &x.int8_row(token)[steps.start / GROUP..];
        let mut sums = [0.0; ROWS];
        for (blocks, x) in panel.chunks(GROUP).zip(x) {
            for (b, block) in blocks.iter().enumerate() {
                add_block::<L>(block, x, b, &mut sums);
            }
        }
        for (y, sum) in y.row_mut(token).iter_mut().zip(sums) {
            *y = if steps.start == 0 { sum } else { *y + sum };
        }
    }
}

#[inline]
fn add_block<L: Layout>(block: &Block, x: &Group, b: usize, sums: &mut [f32; ROWS]) {
    let codes = [0, 1].map(|half| i16x16::from_i8x16(i8x16::new(x.codes[b / 4][half][b % 4])));
    for r in 0..ROWS {
        let products: i32x8 = block.codes[r][0].dot(codes[0]) + block.codes[r][1].dot(codes[1]);
        sums[r] += products.reduce_add() as f32 * (block.d[r] * x.d[b]);
        if L::MIN.is_some() {
            sums[r] += block.m[r] * x.dsum[b];
        }
    }
}

/// The sixteen codes of one half of a block, minus their zero.
fn unpack<L: Layout>(stored: &[u8], half: usize) -> i16x16 {
    let zero = if L::MIN.is_some() { 0 } else { 1 << L::ZERO_LOG2 };
    let codes = &stored[L::CODES..];
    let code = |i: usize| -> i16 {
        if L::BITS == 8 {
            return i16::from(codes[16 * half + i] as i8);
        }
        let high = L::HIGH.map_or(0, |high| stored[high + 2 * half + i / 8] >> (i % 8) & 1);
        i16::from((codes[i] >> (4 * half) & 15) | high << 4) - zero
    };
    i16x16::new(std::array::from_fn(code))
}

fn number(stored: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([stored[at], stored[at + 1]]).to_f32()
}
