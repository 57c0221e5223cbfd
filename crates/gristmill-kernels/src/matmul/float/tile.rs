//! Many tokens: a panel holds sixteen rows side by side, so that one activation, broadcast, meets sixteen weights; a
//! tile is one or two panels times a few tokens, as many as the level's registers hold.

use std::marker::PhantomData;

use super::{PIECE, Piece, SUMS, Widen, put};
use crate::Tile;
use crate::level::AtLevel;
use crate::level::prefetch::prefetch;
use crate::level::vector::{Kernel, LANES, Vector, dispatch_at};
use crate::matmul::activations::Activations;
use crate::matmul::gemm::{self, TileKernel, blocks};
use crate::matmul::kernels::{Form, Rows, TileShape};
use crate::matmul::order::{Cut, Order};

/// `P` times sixteen rows of one weight each.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Columns<const P: usize>([[f32; LANES]; P]);

impl<const P: usize> Columns<P> {
    const ZERO: Columns<P> = Columns([[0.0; LANES]; P]);
}

blocks!(Columns<1> Columns<2>);

/// The tile kernel of `P` panels and up to `N` tokens at level `T`.
pub(crate) struct Float<W, T, const P: usize, const N: usize>(PhantomData<(W, T)>);

impl<W: Widen, T: AtLevel, const P: usize, const N: usize> TileKernel for Float<W, T, P, N>
where
    Columns<P>: gemm::Block,
{
    type Block = Columns<P>;
    type Column = f32;
    const ROWS: usize = P * LANES;
    const STEP: usize = 1;
    const FORM: Form = Form::F32;
    const SHAPE: TileShape = TileShape { tokens: N, cut: Cut::chains(SUMS * LANES) };

    fn columns(x: &Activations) -> &[f32] {
        x.floats()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Columns<P>]) {
        dispatch_at(T::LEVEL, Pack::<W, P> { rows, order, panel, widen: PhantomData });
    }

    fn tile(panel: &[Columns<P>], columns: &[f32], order: Order, _: &[u8], y: &mut Tile<'_, f32>) {
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match y.rows().len() {
                    $($n => {
                        let columns = columns.as_chunks::<$n>().0;
                        dispatch_at(T::LEVEL, RegisterTile::<P, $n> { panel, columns, order, y })
                    })*
                    n => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6 7 8 9 10 11 12);
    }
}

/// Widens up to `16 P` rows and puts them side by side.
struct Pack<'a, W, const P: usize> {
    rows: &'a Rows<'a>,
    order: Order,
    panel: &'a mut [Columns<P>],
    widen: PhantomData<W>,
}

impl<W: Widen, const P: usize> Kernel for Pack<'_, W, P> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Pack { rows, order, panel, .. } = self;
        let bytes = |n| rows.dtype.row_bytes(n).expect("pieces are whole blocks");
        let last = rows.n_rows() - 1;
        // Rows a little longer than a piece, or all would meet in the same sets of the cache.
        let mut widened = [[V::splat(0.0); PIECE / LANES + 1]; LANES];
        let mut scratch = W::SCRATCH;
        for p in 0..P {
            for start in (0..order.n_steps()).step_by(PIECE) {
                let end = order.n_steps().min(start + PIECE);
                let (piece, n_vectors) = (bytes(start)..bytes(end), (end - start).div_ceil(LANES));
                for r in 0..LANES {
                    // Rows that are not there are copies of the last; nobody looks at their sums.
                    let bytes = &rows.row(last.min(p * LANES + r))[piece.clone()];
                    prefetch(bytes, bytes.len());
                    let piece = W::piece(rows.dtype, bytes, &mut scratch);
                    if end - start == PIECE {
                        for i in 0..PIECE / LANES {
                            widened[r][i] = piece.sixteen::<V, true>(i);
                        }
                    } else {
                        for i in 0..n_vectors {
                            widened[r][i] = piece.sixteen::<V, false>(i);
                        }
                    }
                }
                for i in 0..n_vectors {
                    let mut square = [V::splat(0.0); LANES];
                    for r in 0..LANES {
                        square[r] = widened[r][i];
                    }
                    let first = start + i * LANES;
                    for (k, values) in (first..end).zip(V::transpose(square)) {
                        values.store(&mut panel[order.place(k)].0[p]);
                    }
                }
            }
        }
    }
}

/// The sums of a tile, which stay in registers while a chain is walked.
struct RegisterTile<'a, 'y, const P: usize, const N: usize> {
    panel: &'a [Columns<P>],
    columns: &'a [[f32; N]],
    order: Order,
    y: &'a mut Tile<'y, f32>,
}

impl<const P: usize, const N: usize> Kernel for RegisterTile<'_, '_, P, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let RegisterTile { panel, columns, order, y } = self;
        let mut totals = [[V::splat(0.0); P]; N];
        for chain in order.whole().chains() {
            let mut sums = [[V::splat(0.0); P]; N];
            for (weights, x) in panel[chain.clone()].iter().zip(&columns[chain]) {
                add_step(weights, x, &mut sums);
            }
            add(&mut totals, sums);
        }
        let first = y.rows().start;
        for n in 0..N {
            for (y, total) in y.row_mut(first + n).chunks_mut(LANES).zip(totals[n]) {
                put(y, total);
            }
        }
    }
}

/// Adds the products of one step.
#[inline(always)]
fn add_step<V: Vector, const P: usize, const N: usize>(
    weights: &Columns<P>,
    x: &[f32; N],
    sums: &mut [[V; P]; N],
) {
    for n in 0..N {
        let x = V::splat(x[n]);
        for p in 0..P {
            sums[n][p] = V::load(&weights.0[p]).mul_add(x, sums[n][p]);
        }
    }
}

/// Adds the sums of a chain.
#[inline(always)]
fn add<V: Vector, const P: usize, const N: usize>(totals: &mut [[V; P]; N], sums: [[V; P]; N]) {
    for n in 0..N {
        for p in 0..P {
            totals[n][p] = totals[n][p] + sums[n][p];
        }
    }
}
