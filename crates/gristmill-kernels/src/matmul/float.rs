//! Products in f32: for F32, F16 and BF16 weights, widened exactly, and for every type without integer kernels,
//! dequantized piece by piece.
//!
//! Written once over sixteen floats ([`Vector`]) and compiled for each level. A panel holds sixteen rows side by side,
//! so that one activation, broadcast, meets sixteen weights; a tile is one or two panels times a few tokens, as many
//! as the level's registers hold.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use gristmill_tensor::DType;
use half::f16;

use super::activations::Activations;
use super::gemm::{TileKernel, gemm};
use super::kernels::{Form, Kernels, Rows};
use super::matrix::dequantize;
use crate::Tile;
use crate::level::vector::{Kernel, LANES, Vector, dispatch_at};
use crate::level::{AtLevel, Level, tag};

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

fn at<T: AtLevel, const P: usize, const N: usize>(dtype: DType) -> Kernels {
    match dtype {
        DType::F32 => of::<F32, T, P, N>(),
        DType::F16 => of::<F16, T, P, N>(),
        DType::BF16 => of::<Bf16, T, P, N>(),
        _ => of::<Dequantized, T, P, N>(),
    }
}

fn of<W: Widen, T: AtLevel, const P: usize, const N: usize>() -> Kernels {
    let gemv = |rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>| {
        let token = y.rows().start;
        dispatch_at(
            T::LEVEL,
            Gemv::<W> { rows, x: x.row(token), y: y.row_mut(token), widen: PhantomData },
        );
    };
    Kernels { form: Form::F32, gemv, gemm: gemm::<Float<W, T, P, N>> }
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
        let dtype = self.rows.dtype;
        let piece_bytes = dtype.row_bytes(PIECE).expect("a piece is whole blocks");
        let mut scratch = [0.0; PIECE];
        for (row, y) in self.rows.iter().zip(self.y) {
            // Four independent sums, since an addition takes about four cycles.
            let mut sums = [V::splat(0.0); 4];
            for (bytes, x) in row.chunks(piece_bytes).zip(self.x.chunks(PIECE)) {
                let weights = W::piece(dtype, bytes, &mut scratch);
                if x.len() == PIECE {
                    for i in 0..PIECE / LANES {
                        sums[i % 4] = weights.sixteen::<V>(i).mul_add(x.sixteen(i), sums[i % 4]);
                    }
                } else {
                    for i in 0..x.len().div_ceil(LANES) {
                        sums[i % 4] = weights.sixteen::<V>(i).mul_add(x.sixteen(i), sums[i % 4]);
                    }
                }
            }
            *y = ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
        }
    }
}

/// One column of a panel: sixteen rows.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Column([f32; LANES]);

/// The tile kernel of `P` panels and up to `N` tokens at level `T`.
pub(crate) struct Float<W, T, const P: usize, const N: usize>(PhantomData<(W, T)>);

impl<W: Widen, T: AtLevel, const P: usize, const N: usize> TileKernel for Float<W, T, P, N> {
    type Block = Column;
    const ROWS: usize = P * LANES;
    const TOKENS: usize = N;
    const STEP: usize = 1;
    const BLOCKS_PER_STEP: usize = P;
    const SLICE: usize = PIECE;
    const ZERO: Column = Column([0.0; LANES]);

    fn scratch() -> &'static LocalKey<RefCell<Vec<Column>>> {
        thread_local! { static PANEL: RefCell<Vec<Column>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Column]) {
        let columns = panel.as_chunks_mut::<P>().0;
        dispatch_at(T::LEVEL, Pack::<W, P> { rows, steps, columns, widen: PhantomData });
    }

    fn tile(panel: &[Column], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        let columns = panel.as_chunks::<P>().0;
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match y.rows().len() {
                    $($n => dispatch_at(T::LEVEL, RegisterTile::<P, $n> { columns, x, steps, y }),)*
                    n => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6 7 8);
    }
}

/// Widens a slice of up to `16 P` rows and puts them side by side.
struct Pack<'a, W, const P: usize> {
    rows: &'a Rows<'a>,
    steps: Range<usize>,
    columns: &'a mut [[Column; P]],
    widen: PhantomData<W>,
}

impl<W: Widen, const P: usize> Kernel for Pack<'_, W, P> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Pack { rows, steps, columns, .. } = self;
        let bytes = |n| rows.dtype.row_bytes(n).expect("slices are whole blocks");
        let slice = bytes(steps.start)..bytes(steps.end);
        let last = rows.n_rows() - 1;
        let mut scratch = [[0.0; PIECE]; LANES];
        for p in 0..P {
            // Rows that are not there are copies of the last; nobody looks at their sums.
            let mut row = p * LANES;
            let pieces = scratch.each_mut().map(|scratch| {
                let bytes = &rows.row(last.min(row))[slice.clone()];
                row += 1;
                W::piece(rows.dtype, bytes, scratch)
            });
            for (i, columns) in columns.chunks_mut(LANES).enumerate() {
                let mut square = [V::splat(0.0); LANES];
                for r in 0..LANES {
                    square[r] = pieces[r].sixteen(i);
                }
                let square = V::transpose(square);
                for (column, values) in columns.iter_mut().zip(square) {
                    values.store(&mut column[p].0);
                }
            }
        }
    }
}

/// The sums of a tile, which stay in registers while a slice is walked.
struct RegisterTile<'a, 'y, const P: usize, const N: usize> {
    columns: &'a [[Column; P]],
    x: &'a Activations,
    steps: Range<usize>,
    y: &'a mut Tile<'y, f32>,
}

impl<const P: usize, const N: usize> Kernel for RegisterTile<'_, '_, P, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let RegisterTile { columns, x, steps, y } = self;
        let first = y.rows().start;
        let xs: [&[f32]; N] =
            std::array::from_fn(|n| &x.row(first + n)[steps.clone()][..columns.len()]);
        let mut sums = [[V::splat(0.0); P]; N];
        // Sixteen columns at a time, so that the compiler sees that all indices are inside.
        let (squares, rest) = columns.as_chunks::<LANES>();
        for (i, square) in squares.iter().enumerate() {
            let xs: [&[f32; LANES]; N] =
                xs.map(|x| x[LANES * i..].first_chunk().expect("x is as long"));
            for k in 0..LANES {
                add_column(&square[k], |n| xs[n][k], &mut sums);
            }
        }
        for (k, column) in rest.iter().enumerate() {
            add_column(column, |n| xs[n][LANES * squares.len() + k], &mut sums);
        }
        for n in 0..N {
            let y = y.row_mut(first + n);
            for p in 0..P.min(y.len().div_ceil(LANES)) {
                let end = y.len().min((p + 1) * LANES);
                add_or_set(&mut y[p * LANES..end], sums[n][p], steps.start == 0);
            }
        }
    }
}

/// Adds the products of one column of weights with one activation of each token.
#[inline(always)]
fn add_column<V: Vector, const P: usize, const N: usize>(
    column: &[Column; P],
    x: impl Fn(usize) -> f32,
    sums: &mut [[V; P]; N],
) {
    for n in 0..N {
        let value = V::splat(x(n));
        for p in 0..P {
            sums[n][p] = V::load(&column[p].0).mul_add(value, sums[n][p]);
        }
    }
}

/// Writes as many of the sums as `y` has elements, or adds them to what is there.
#[inline(always)]
fn add_or_set<V: Vector>(y: &mut [f32], sum: V, set: bool) {
    if let Ok(y) = <&mut [f32; LANES]>::try_from(&mut *y) {
        let sum = if set { sum } else { V::load(y) + sum };
        sum.store(y);
        return;
    }
    for (y, sum) in y.iter_mut().zip(sum.to_array()) {
        *y = if set { sum } else { *y + sum };
    }
}
