//! One token: the products of a row are summed in two vectors, whose lanes are the chains of an
//! [`Order`](crate::matmul::order::Order).

use std::marker::PhantomData;

use gristmill_tensor::DType;

use super::{PIECE, Piece, SUMS, Widen, put};
use crate::level::prefetch::Stream;
use crate::level::vector::{Kernel, LANES, Vector};
use crate::matmul::kernels::Rows;

/// One product per row.
pub(super) struct Gemv<'a, W> {
    pub(super) rows: &'a Rows<'a>,
    pub(super) x: &'a [f32],
    pub(super) y: &'a mut [f32],
    pub(super) widen: PhantomData<W>,
}

impl<W: Widen> Kernel for Gemv<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let stream = Stream::of_this_cpu((8 * W::piece_bytes(self.rows.dtype) / PIECE) as u32);
        for (start, y) in (0..self.rows.n_rows()).step_by(LANES).zip(self.y.chunks_mut(LANES)) {
            let mut sums = [[V::splat(0.0); LANES]; SUMS];
            for i in 0..y.len() {
                let row = self.rows.row(start + i);
                let chains = chains::<V, W>(self.rows.dtype, row, self.x, stream);
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

/// The sums of the chains of a row, whose bytes are asked for ahead by `stream`: lane `l` of vector `s` is chain
/// `16 s + l`.
#[inline(always)]
fn chains<V: Vector, W: Widen>(dtype: DType, row: &[u8], x: &[f32], stream: Stream) -> [V; SUMS] {
    let mut scratch = W::SCRATCH;
    let mut sums = [V::splat(0.0); SUMS];
    let piece_bytes = W::piece_bytes(dtype);
    let (whole, rest) = x.as_chunks::<PIECE>();
    for (bytes, x) in row.chunks_exact(piece_bytes).zip(whole) {
        stream.ask(bytes, piece_bytes);
        add_piece::<V, true>(W::piece(dtype, bytes, &mut scratch), x, &mut sums);
    }
    if !rest.is_empty() {
        let bytes = &row[whole.len() * piece_bytes..];
        add_piece::<V, false>(W::piece(dtype, bytes, &mut scratch), rest, &mut sums);
    }
    sums
}

/// Adds the products of a piece to the sums.
#[inline(always)]
fn add_piece<V: Vector, const FULL: bool>(weights: impl Piece, x: &[f32], sums: &mut [V; SUMS]) {
    let n_vectors = if FULL { PIECE / LANES } else { x.len().div_ceil(LANES) };
    for start in (0..n_vectors).step_by(SUMS) {
        for s in 0..SUMS.min(n_vectors - start) {
            let i = start + s;
            let (w, x) = (weights.sixteen::<V, FULL>(i), x.sixteen::<V, FULL>(i));
            sums[s] = w.mul_add(x, sums[s]);
        }
    }
}
