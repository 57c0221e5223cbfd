//! Products in f32: for F32, F16 and BF16 weights, widened exactly, and for every type without integer kernels,
//! dequantized piece by piece.
//!
//! Written once over sixteen floats ([`Vector`]) and compiled for each level. A panel holds sixteen rows side by side,
//! so that one activation, broadcast, meets sixteen weights; a tile is one or two panels times a few tokens, as many
//! as the level's registers hold.

use std::marker::PhantomData;

use gristmill_tensor::DType;
use half::f16;

use super::activations::Activations;
use super::gemm::{self, TileKernel, blocks, gemm};
use super::kernels::{Form, Kernels, Rows, TileShape};
use super::matrix::dequantize;
use super::order::Order;
use crate::Tile;
use crate::level::vector::{Kernel, LANES, Vector, dispatch_at};
use crate::level::{AtLevel, Level, tag};

/// Vectors that a single token's products are summed in, since an addition takes about four cycles.
const SUMS: usize = 4;

/// Elements that are widened at a time; every block type has a divisor of it as its length.
const PIECE: usize = 256;

/// The kernels for a type that has none of its own at level `T`. `P` panels and `N` tokens make a tile.
pub(crate) fn kernels(level: Level, dtype: DType) -> Kernels {
    match level {
        Level::Portable => at::<tag::Portable, 1, 4>(dtype),
        Level::Avx2 => at::<tag::Avx2, 1, 6>(dtype),
        Level::Avx512 => at::<tag::Avx512, 2, 8>(dtype),
    }
}

fn at<T: AtLevel, const P: usize, const N: usize>(dtype: DType) -> Kernels
where
    Columns<P>: gemm::Block,
{
    match dtype {
        DType::F32 => of::<F32, T, P, N>(),
        DType::F16 => of::<F16, T, P, N>(),
        DType::BF16 => of::<Bf16, T, P, N>(),
        _ => of::<Dequantized, T, P, N>(),
    }
}

fn of<W: Widen, T: AtLevel, const P: usize, const N: usize>() -> Kernels
where
    Columns<P>: gemm::Block,
{
    let gemv = |rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>| {
        let token = y.rows().start;
        dispatch_at(
            T::LEVEL,
            Gemv::<W> { rows, x: x.rows(), y: y.row_mut(token), widen: PhantomData },
        );
    };
    let shape = Float::<W, T, P, N>::SHAPE;
    Kernels { form: Form::F32, gemv: Some(gemv), gemm: gemm::<Float<W, T, P, N>>, shape }
}

/// How stored weights become floats.
pub(crate) trait Widen: 'static {
    /// At most [`PIECE`] elements of a row, sixteen at a time.
    type Piece<'a>: Piece;

    /// The elements that `bytes` hold; `scratch` is at least as long as they are many.
    fn piece<'a>(dtype: DType, bytes: &'a [u8], scratch: &'a mut [f32]) -> Self::Piece<'a>;
}

/// A piece of a row as floats.
pub(crate) trait Piece: Copy {
    /// Elements `16 i` to `16 i + 16`, zero past the end.
    fn sixteen<V: Vector>(self, i: usize) -> V;
}

struct F32;
struct F16;
struct Bf16;
struct Dequantized;

macro_rules! plain_numbers {
    ($($name:ident: $bytes:literal bytes, $widen:expr;)*) => { $(
        impl Widen for $name {
            type Piece<'a> = Stored<'a, $name>;

            #[inline(always)]
            fn piece<'a>(_: DType, bytes: &'a [u8], _: &'a mut [f32]) -> Stored<'a, $name> {
                Stored(bytes, PhantomData)
            }
        }

        impl Piece for Stored<'_, $name> {
            #[inline(always)]
            fn sixteen<V: Vector>(self, i: usize) -> V {
                const LEN: usize = $bytes * LANES;
                let bytes = &self.0[i * LEN..];
                let widen: fn(&[u8; LEN]) -> V = $widen;
                match bytes.first_chunk() {
                    Some(bytes) => widen(bytes),
                    None => {
                        let mut padded = [0; LEN];
                        padded[..bytes.len()].copy_from_slice(bytes);
                        widen(&padded)
                    }
                }
            }
        }
    )* };
}

plain_numbers! {
    F32: 4 bytes, |bytes| V::load(&numbers(bytes, f32::from_le_bytes));
    F16: 2 bytes, |bytes| V::load_f16(&numbers(bytes, f16::from_le_bytes));
    Bf16: 2 bytes, |bytes| V::load(&numbers(bytes, |[a, b]| f32::from_le_bytes([0, 0, a, b])));
}

#[inline(always)]
fn numbers<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> [T; LANES] {
    let bytes = bytes.as_chunks::<N>().0;
    std::array::from_fn(|i| number(bytes[i]))
}

/// Plain numbers as they are stored.
struct Stored<'a, W>(&'a [u8], PhantomData<W>);

impl<W> Clone for Stored<'_, W> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Stored<'_, W> {}

impl Widen for Dequantized {
    type Piece<'a> = &'a [f32];

    #[inline(always)]
    fn piece<'a>(dtype: DType, bytes: &'a [u8], scratch: &'a mut [f32]) -> &'a [f32] {
        let n = bytes.len() / dtype.block_bytes() * dtype.block_len();
        dequantize(dtype, bytes, &mut scratch[..n]);
        &scratch[..n]
    }
}

impl Piece for &[f32] {
    #[inline(always)]
    fn sixteen<V: Vector>(self, i: usize) -> V {
        let values = &self[i * LANES..];
        match values.first_chunk() {
            Some(values) => V::load(values),
            None => {
                let mut padded = [0.0; LANES];
                padded[..values.len()].copy_from_slice(values);
                V::load(&padded)
            }
        }
    }
}

/// One product per row.
struct Gemv<'a, W> {
    rows: &'a Rows<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    widen: PhantomData<W>,
}

impl<W: Widen> Kernel for Gemv<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (start, y) in (0..self.rows.n_rows()).step_by(LANES).zip(self.y.chunks_mut(LANES)) {
            let mut sums = [[V::splat(0.0); LANES]; SUMS];
            for i in 0..y.len() {
                let chains = chains::<V, W>(self.rows.dtype, self.rows.row(start + i), self.x);
                for s in 0..SUMS {
                    sums[s][i] = chains[s];
                }
            }
            // The chains' sums are added one after the other, sixteen rows at once.
            let mut total = V::splat(0.0);
            for sums in sums {
                for chain in V::transpose(sums) {
                    total = total + chain;
                }
            }
            put(y, total);
        }
    }
}

/// The sums of the chains of a row: lane `l` of vector `s` is chain `16 s + l`.
#[inline(always)]
fn chains<V: Vector, W: Widen>(dtype: DType, row: &[u8], x: &[f32]) -> [V; SUMS] {
    let piece_bytes = dtype.row_bytes(PIECE).expect("a piece is whole blocks");
    let mut scratch = [0.0; PIECE];
    let mut sums = [V::splat(0.0); SUMS];
    for (bytes, x) in row.chunks(piece_bytes).zip(x.chunks(PIECE)) {
        let weights = W::piece(dtype, bytes, &mut scratch);
        if x.len() == PIECE {
            for i in 0..PIECE / LANES {
                sums[i % SUMS] = weights.sixteen::<V>(i).mul_add(x.sixteen(i), sums[i % SUMS]);
            }
        } else {
            for i in 0..x.len().div_ceil(LANES) {
                sums[i % SUMS] = weights.sixteen::<V>(i).mul_add(x.sixteen(i), sums[i % SUMS]);
            }
        }
    }
    sums
}

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
    const SHAPE: TileShape = TileShape { tokens: N, chains: SUMS * LANES };

    fn columns(x: &Activations) -> &[f32] {
        x.floats()
    }

    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Columns<P>]) {
        dispatch_at(T::LEVEL, Pack::<W, P> { rows, order, panel, widen: PhantomData });
    }

    fn tile(panel: &[Columns<P>], columns: &[f32], order: Order, y: &mut Tile<'_, f32>) {
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
        tile_of!(1 2 3 4 5 6 7 8);
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
        let last = rows.n_rows() - 1;
        let mut scratch = [[0.0; PIECE]; LANES];
        for p in 0..P {
            for start in (0..order.n_steps()).step_by(PIECE) {
                let end = order.n_steps().min(start + PIECE);
                let bytes = |n| rows.dtype.row_bytes(n).expect("pieces are whole blocks");
                let piece = bytes(start)..bytes(end);
                // Rows that are not there are copies of the last; nobody looks at their sums.
                let mut row = p * LANES;
                let pieces = scratch.each_mut().map(|scratch| {
                    let bytes = &rows.row(last.min(row))[piece.clone()];
                    row += 1;
                    W::piece(rows.dtype, bytes, scratch)
                });
                for i in 0..(end - start).div_ceil(LANES) {
                    let mut square = [V::splat(0.0); LANES];
                    for r in 0..LANES {
                        square[r] = pieces[r].sixteen(i);
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
        for chain in order.chains() {
            let mut sums = [[V::splat(0.0); P]; N];
            for (weights, x) in panel[chain.clone()].iter().zip(&columns[chain]) {
                add_step(weights, x, &mut sums);
            }
            add(&mut totals, sums);
        }
        for (weights, x) in panel[order.singles()].iter().zip(&columns[order.singles()]) {
            let mut sums = [[V::splat(0.0); P]; N];
            add_step(weights, x, &mut sums);
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

/// Writes as many elements as `y` has.
#[inline(always)]
fn put<V: Vector>(y: &mut [f32], values: V) {
    match <&mut [f32; LANES]>::try_from(&mut *y) {
        Ok(y) => values.store(y),
        Err(_) => y.copy_from_slice(&values.to_array()[..y.len()]),
    }
}
