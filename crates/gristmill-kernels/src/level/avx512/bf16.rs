//! BF16 weights times many tokens, as they are: `vdpbf16ps` multiplies two pairs and adds them up in f32.
//!
//! Activations are rounded to BF16 as well (to nearest even), which is what other programs do with such weights; there
//! are no scales, so that nothing but the products takes time.
#![expect(unsafe_code, reason = "functions with target features")]

use std::arch::x86_64::*;

use super::gemm::write;
use super::pairs::{Pairs, for_tokens, pack};
use crate::Tile;
use crate::level::Level;
use crate::level::prefetch::Ahead;
use crate::matmul::activations::{Activations, BLOCK};
use crate::matmul::columns::PairColumn;
use crate::matmul::gemm::{TileKernel, blocks};
use crate::matmul::kernels::{Form, Rows, TileShape};
use crate::matmul::order::{Cut, Order};

/// 32 rows of a block: of each row sixteen pairs.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Block([[__m512i; 2]; BLOCK / 2]);

impl Block {
    // SAFETY: all bits zero are integers.
    const ZERO: Block = unsafe { std::mem::zeroed() };
}

blocks!(Block);

/// The tile kernel, for CPUs that [have it](is_available).
pub(super) struct Bf16;

/// Whether this CPU multiplies BF16.
pub(crate) fn is_available() -> bool {
    Level::Avx512.is_available() && is_x86_feature_detected!("avx512bf16")
}

impl TileKernel for Bf16 {
    type Block = Block;
    type Column = PairColumn;
    const ROWS: usize = 32;
    const STEP: usize = BLOCK;
    const FORM: Form = Form::Bf16;
    // There is no kernel for one token whose order it must share.
    const SHAPE: TileShape = TileShape { tokens: 6, cut: Cut::chains(1) };

    fn columns(x: &Activations) -> &[PairColumn] {
        x.pair_columns()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Block]) {
        assert!(Level::Avx512.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::<Self>(rows, order, panel) }
    }

    fn tile(
        panel: &[Block],
        columns: &[PairColumn],
        order: Order,
        next: &[u8],
        y: &mut Tile<'_, f32>,
    ) {
        assert!(is_available());
        // SAFETY: the CPU has been asked.
        unsafe { for_tokens!(tile(panel, columns, order, next, y)) };
    }
}

impl Pairs for Bf16 {
    type Block = Block;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn put(pairs: [__m512i; BLOCK / 2], half: usize, block: &mut Block) {
        for (j, pair) in pairs.into_iter().enumerate() {
            block.0[j][half] = pair;
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx512bf16")]
fn tile<const N: usize>(
    panel: &[Block],
    columns: &[PairColumn],
    order: Order,
    next: &[u8],
    y: &mut Tile<'_, f32>,
) {
    let columns = columns.as_chunks::<N>().0;
    let mut ahead = Ahead::new(next, order.n_steps());
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    for (block, x) in panel[..order.n_steps()].iter().zip(columns) {
        ahead.ask();
        for (j, pairs) in block.0.iter().enumerate() {
            for n in 0..N {
                let pair = _mm512_set1_epi32(x[n].0[j]);
                for half in 0..2 {
                    sums[n][half] =
                        _mm512_dpbf16_ps(sums[n][half], numbers(pairs[half]), numbers(pair));
                }
            }
        }
    }
    write(sums, y);
}

/// The BF16 numbers that these bits are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn numbers(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, all of which mean something.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
}
