//! Many tokens: four rows of weights, unpacked, times four tokens.
//!
//! The sums of each row and token are those of [`gemv`](super::gemv), made in the same order; only the unpacking is
//! shared. So a token's results do not depend on whether there are others.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use super::multiply::{Multiply, Quad, Work};
use super::ops::*;
use super::scale::{add_scaled, total};
use super::unpack::Stored;
use crate::Tile;
use crate::matmul::activations::{Activations, Group};
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;

/// Rows of a panel.
const ROWS: usize = 4;

/// Steps of eight blocks per slice: a panel and the activations that it meets fit the nearest cache.
pub(super) const SLICE: usize = 8;

/// Eight blocks of four rows, unpacked.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// Codes by quad and pair of rows, as [`Multiply::arrange`] puts them.
    codes: [[[Quad; 2]; ROWS / 2]; 2],
    /// Scales by row, by half of a block where halves have their own, and by quad.
    d: [[[[f32; 4]; 2]; 2]; ROWS],
    /// Minima, likewise.
    m: [[[[f32; 4]; 2]; 2]; ROWS],
}

/// The kernel for weights stored as `S`.
pub(crate) struct Int8<M, S, const H: usize>(PhantomData<(M, S)>);

impl<M: Multiply, S: Stored<H>, const H: usize> TileKernel for Int8<M, S, H> {
    type Block = Block;
    const ROWS: usize = ROWS;
    const TOKENS: usize = 4;
    const STEP: usize = 256;
    const SLICE: usize = SLICE;
    const ZERO: Block = Block {
        codes: [[[[[[0; 16]; 2]; 4]; 2]; ROWS / 2]; 2],
        d: [[[[0.0; 4]; 2]; 2]; ROWS],
        m: [[[[0.0; 4]; 2]; 2]; ROWS],
    };

    fn scratch() -> &'static LocalKey<RefCell<Vec<Block>>> {
        thread_local! { static PANEL: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block]) {
        // Rows that are not there are copies of the last; nobody looks at their sums.
        let last = rows.n_rows() - 1;
        for pair in 0..ROWS / 2 {
            let rows = [0, 1].map(|r| rows.row(last.min(2 * pair + r)));
            for (step, block) in steps.clone().zip(&mut *panel) {
                let eights = rows.map(|row| {
                    let rest = &row[step * S::EIGHT_BYTES..];
                    &rest[..rest.len().min(S::EIGHT_BYTES)]
                });
                pack_pair::<M, S, H>(eights, pair, block);
            }
        }
    }

    fn tile(panel: &[Block], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match (y.rows().len(), S::HAS_MIN) {
                    $(
                        ($n, false) => M::run(RegisterTile::<H, false, $n> { panel, x, steps, y }),
                        ($n, true) => M::run(RegisterTile::<H, true, $n> { panel, x, steps, y }),
                    )*
                    (n, _) => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4);
    }
}

/// Unpacks up to eight blocks of two rows.
#[inline(always)]
fn pack_pair<M: Multiply, S: Stored<H>, const H: usize>(
    eights: [&[u8]; 2],
    pair: usize,
    block: &mut Block,
) {
    for b in 0..8 {
        for half in 0..2 {
            let codes = M::arrange(eights.map(|eight| S::codes(eight, b, half)));
            for (r, codes) in codes.into_iter().enumerate() {
                vst1q_s8(&mut block.codes[b / 4][pair][r][b % 4][half], codes);
            }
        }
    }
    for (r, eight) in eights.into_iter().enumerate() {
        let (d, m) = (S::scales(eight), S::minima(eight));
        for h in 0..H {
            for q in 0..2 {
                vst1q_f32(&mut block.d[2 * pair + r][h][q], d[h][q]);
                vst1q_f32(&mut block.m[2 * pair + r][h][q], m[h][q]);
            }
        }
    }
}

/// The sums of a tile of `N` tokens, which stay in registers while a slice is walked.
struct RegisterTile<'a, 'y, const H: usize, const HAS_MIN: bool, const N: usize> {
    panel: &'a [Block],
    x: &'a Activations,
    steps: Range<usize>,
    y: &'a mut Tile<'y, f32>,
}

impl<const H: usize, const HAS_MIN: bool, const N: usize> Work
    for RegisterTile<'_, '_, H, HAS_MIN, N>
{
    #[inline(always)]
    fn run<M: Multiply>(self) {
        let RegisterTile { panel, x, steps, y } = self;
        let first = y.rows().start;
        let xs: [&[Group]; N] =
            std::array::from_fn(|n| &x.int8_row(first + n)[steps.start / 2..steps.end.div_ceil(2)]);
        let mut sums = [[vdupq_n_f32(0.0); ROWS]; N];
        for (e, block) in panel.iter().enumerate() {
            let x = xs.map(|x| &x[e / 2]);
            for q in 0..2 {
                let (pairs, single) = sums.as_chunks_mut::<2>();
                for (i, sums) in pairs.iter_mut().enumerate() {
                    let x = [x[2 * i], x[2 * i + 1]];
                    add_quad::<M, H, HAS_MIN, 2>(block, q, x, 2 * (e % 2) + q, sums);
                }
                if let [sums] = single {
                    let sums = std::array::from_mut(sums);
                    add_quad::<M, H, HAS_MIN, 1>(block, q, [x[N - 1]], 2 * (e % 2) + q, sums);
                }
            }
        }
        for n in 0..N {
            for (y, sums) in y.row_mut(first + n).iter_mut().zip(sums[n]) {
                *y = if steps.start == 0 { total(sums) } else { *y + total(sums) };
            }
        }
    }
}

/// Adds the products of quad `q` of all rows with quad `quad` of `N` tokens.
#[inline(always)]
fn add_quad<M: Multiply, const H: usize, const HAS_MIN: bool, const N: usize>(
    block: &Block,
    q: usize,
    x: [&Group; N],
    quad: usize,
    sums: &mut [[float32x4_t; ROWS]; N],
) {
    for pair in 0..ROWS / 2 {
        let products = M::products::<H, N>(&block.codes[q][pair], x.map(|x| &x.codes[quad]));
        for r in 0..2 {
            let row = 2 * pair + r;
            let scales = |of: &[[[[f32; 4]; 2]; 2]; ROWS]| {
                std::array::from_fn(|h| vld1q_f32(&of[row][h][q]))
            };
            let (d, m) = (scales(&block.d), HAS_MIN.then(|| scales(&block.m)));
            for n in 0..N {
                sums[n][row] = add_scaled(products[r][n], d, m, x[n], quad, sums[n][row]);
            }
        }
    }
}
