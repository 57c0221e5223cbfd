//! Products in f32: for F32, F16 and BF16 weights, widened exactly, and for every type without integer kernels,
//! dequantized piece by piece. Written once over sixteen floats ([`Vector`]) and compiled for each level.

mod gemv;
mod tile;

use std::marker::PhantomData;

use gristmill_tensor::DType;
use half::f16;

use super::activations::Activations;
use super::gemm;
use super::kernels::{Form, Kernels, Rows, Way};
use super::matrix::dequantize;
use crate::Tile;
use crate::level::vector::{LANES, Vector, dispatch_at};
use crate::level::{AtLevel, Level, tag};
use gemv::Gemv;
use tile::{Columns, Float};

/// Vectors that a single token's products are summed in: an addition takes about as long as memory takes for two.
const SUMS: usize = 2;

/// Elements that are widened at a time; every block type has a divisor of it as its length.
const PIECE: usize = 256;

/// The kernels for a type that has none of its own at level `T`. `P` panels and `N` tokens make a tile.
pub(crate) fn kernels(level: Level, dtype: DType) -> Kernels {
    match level {
        Level::Portable => at::<tag::Portable, 1, 4>(dtype),
        Level::Avx2 | Level::AvxVnni => at::<tag::Avx2, 1, 6>(dtype),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            Kernels { fast: crate::level::avx512::fast(dtype), ..at::<tag::Avx512, 2, 12>(dtype) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx512 => at::<tag::Avx512, 2, 12>(dtype),
        Level::Neon | Level::NeonDotprod | Level::NeonI8mm => at::<tag::Neon, 1, 6>(dtype),
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
            Gemv::<W> { rows, x: x.plain(), y: y.row_mut(token), widen: PhantomData },
        );
    };
    Kernels {
        few: Way { kernel: gemv, form: Form::F32, tiles: None },
        n_few: 1,
        many: Way::tiles::<Float<W, T, P, N>>(),
        fast: None,
    }
}

/// How stored weights become floats.
pub(crate) trait Widen: 'static {
    /// At most [`PIECE`] elements of a row, sixteen at a time.
    type Piece<'a>: Piece;
    /// Memory for a piece, if it is not read in place.
    type Scratch: Copy;
    /// Fresh memory.
    const SCRATCH: Self::Scratch;

    /// Bytes of a whole piece.
    fn piece_bytes(dtype: DType) -> usize {
        dtype.row_bytes(PIECE).expect("a piece is whole blocks")
    }

    /// The elements that `bytes` hold.
    fn piece<'a>(dtype: DType, bytes: &'a [u8], scratch: &'a mut Self::Scratch) -> Self::Piece<'a>;
}

/// A piece of a row as floats.
pub(crate) trait Piece: Copy {
    /// Elements `16 i` to `16 i + 16`; of a piece that is not `FULL`, zero past its end.
    fn sixteen<V: Vector, const FULL: bool>(self, i: usize) -> V;
}

struct F32;
struct F16;
struct Bf16;
struct Dequantized;

macro_rules! plain_numbers {
    ($($name:ident: $bytes:literal bytes, $widen:expr;)*) => { $(
        impl Widen for $name {
            type Piece<'a> = Stored<'a, $name>;
            type Scratch = ();
            const SCRATCH: () = ();

            // Known to the compiler.
            #[inline(always)]
            fn piece_bytes(_: DType) -> usize {
                $bytes * PIECE
            }

            #[inline(always)]
            fn piece<'a>(_: DType, bytes: &'a [u8], _: &'a mut ()) -> Stored<'a, $name> {
                Stored(bytes, PhantomData)
            }
        }

        impl Piece for Stored<'_, $name> {
            #[inline(always)]
            fn sixteen<V: Vector, const FULL: bool>(self, i: usize) -> V {
                const LEN: usize = $bytes * LANES;
                const PIECE_LEN: usize = $bytes * PIECE;
                let widen: fn(&[u8; LEN]) -> V = $widen;
                if FULL {
                    let piece: &[u8; PIECE_LEN] = self.0.first_chunk().expect("a full piece");
                    return widen(&piece.as_chunks::<LEN>().0[i]);
                }
                let bytes = &self.0[i * LEN..];
                if let Some(bytes) = bytes.first_chunk() {
                    return widen(bytes);
                }
                let mut padded = [0; LEN];
                padded[..bytes.len()].copy_from_slice(bytes);
                widen(&padded)
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
    type Scratch = [f32; PIECE];
    const SCRATCH: [f32; PIECE] = [0.0; PIECE];

    #[inline(always)]
    fn piece<'a>(dtype: DType, bytes: &'a [u8], scratch: &'a mut [f32; PIECE]) -> &'a [f32] {
        let n = bytes.len() / dtype.block_bytes() * dtype.block_len();
        dequantize(dtype, bytes, &mut scratch[..n]);
        &scratch[..n]
    }
}

impl Piece for &[f32] {
    #[inline(always)]
    fn sixteen<V: Vector, const FULL: bool>(self, i: usize) -> V {
        if FULL {
            let piece: &[f32; PIECE] = self.first_chunk().expect("a full piece");
            return V::load(&piece.as_chunks::<LANES>().0[i]);
        }
        let values = &self[i * LANES..];
        if let Some(values) = values.first_chunk() {
            return V::load(values);
        }
        let mut padded = [0.0; LANES];
        padded[..values.len()].copy_from_slice(values);
        V::load(&padded)
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
