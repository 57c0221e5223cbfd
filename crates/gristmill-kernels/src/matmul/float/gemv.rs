//! One token: the products of a row are summed in two vectors, whose lanes are the chains of an
//! [`Order`](crate::matmul::order::Order).

use std::marker::PhantomData;

use gristmill_tensor::DType;

use super::{PIECE, Piece, SUMS, Widen, put};
use crate::level::prefetch::{AHEAD, prefetch_once, stream_is_asked_for};
use crate::level::vector::{Kernel, LANES, Vector};
use crate::matmul::kernels::Rows;

/// Bytes of activations that stay in the nearest cache beside the stream of weights.
const NEAR: usize = 8 << 10;

/// Rows that are walked at once where the activations do not: each piece of them that comes from the next cache then
/// meets several rows.
const TOGETHER: usize = 4;

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
        let ask = stream_is_asked_for();
        let has_room = SUMS * TOGETHER <= V::ACCUMULATORS;
        if has_room && !ask && size_of_val(self.x) > NEAR {
            self.products::<V, TOGETHER>(ask);
        } else {
            self.products::<V, 1>(ask);
        }
    }
}

impl<W: Widen> Gemv<'_, W> {
    /// The products of `R` rows at a time; `ask` for their weights ahead.
    #[inline(always)]
    fn products<V: Vector, const R: usize>(self, ask: bool) {
        for (start, y) in (0..self.rows.n_rows()).step_by(LANES).zip(self.y.chunks_mut(LANES)) {
            let mut sums = [[V::splat(0.0); LANES]; SUMS];
            for i in (0..y.len()).step_by(R) {
                // Rows that are not there are copies of the last; nobody looks at their sums.
                let row = |r: usize| self.rows.row(start + (i + r).min(y.len() - 1));
                let of_rows =
                    chains::<V, W, R>(self.rows.dtype, std::array::from_fn(row), self.x, ask);
                for r in 0..R {
                    for s in 0..SUMS {
                        sums[s][i + r] = of_rows[r][s];
                    }
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

/// The sums of the chains of rows: lane `l` of vector `s` is chain `16 s + l`.
#[inline(always)]
fn chains<V: Vector, W: Widen, const R: usize>(
    dtype: DType,
    rows: [&[u8]; R],
    x: &[f32],
    ask: bool,
) -> [[V; SUMS]; R] {
    let mut scratch = [W::SCRATCH; R];
    let mut sums = [[V::splat(0.0); SUMS]; R];
    let piece_bytes = W::piece_bytes(dtype);
    let (whole, rest) = x.as_chunks::<PIECE>();
    for (i, x) in whole.iter().enumerate() {
        let bytes = rows.map(|row| &row[i * piece_bytes..][..piece_bytes]);
        if ask {
            bytes.iter().for_each(|bytes| prefetch_once(bytes, piece_bytes, AHEAD));
        }
        add_piece::<V, W, R, true>(dtype, bytes, x, &mut scratch, &mut sums);
    }
    if !rest.is_empty() {
        let bytes = rows.map(|row| &row[whole.len() * piece_bytes..]);
        add_piece::<V, W, R, false>(dtype, bytes, rest, &mut scratch, &mut sums);
    }
    sums
}

/// Adds the products of a piece of each row to the sums.
#[inline(always)]
fn add_piece<V: Vector, W: Widen, const R: usize, const FULL: bool>(
    dtype: DType,
    rows: [&[u8]; R],
    x: &[f32],
    scratch: &mut [W::Scratch; R],
    sums: &mut [[V; SUMS]; R],
) {
    let mut scratch = scratch.iter_mut();
    let pieces = rows.map(|row| W::piece(dtype, row, scratch.next().expect("one for each row")));
    let n_vectors = if FULL { PIECE / LANES } else { x.len().div_ceil(LANES) };
    for start in (0..n_vectors).step_by(SUMS) {
        for s in 0..SUMS.min(n_vectors - start) {
            let i = start + s;
            let x = x.sixteen::<V, FULL>(i);
            for r in 0..R {
                sums[r][s] = pieces[r].sixteen::<V, FULL>(i).mul_add(x, sums[r][s]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::F16;
    use super::*;
    use crate::level::Level;
    use crate::level::vector::dispatch_at;

    /// The same products one row at a time, and several.
    struct Both<'a>(Gemv<'a, F16>, Gemv<'a, F16>);

    impl Kernel for Both<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector>(self) {
            self.0.products::<V, 1>(true);
            self.1.products::<V, TOGETHER>(false);
        }
    }

    #[test]
    fn rows_that_are_walked_together_have_the_bits_of_each_alone() {
        // Neither rows nor pieces nor vectors come out even.
        let (n_rows, n_in) = (18, 2 * PIECE + 37);
        let bytes: Vec<u8> = (0..2 * n_rows * n_in).map(|i| (i * 37 % 59) as u8).collect();
        let x: Vec<f32> = (0..n_in).map(|i| (i * 7919 % 101) as f32 - 50.0).collect();
        let rows =
            &Rows { dtype: DType::F16, bytes: &bytes, row_bytes: 2 * n_in, n_in, after: &[] };
        for &level in Level::available() {
            let mut y = [vec![0.0; n_rows], vec![0.0; n_rows]];
            let [alone, together] =
                y.each_mut().map(|y| Gemv { rows, x: &x, y, widen: PhantomData });
            dispatch_at(level, Both(alone, together));
            assert!(y[0] == y[1] && y[0].iter().all(|y| *y != 0.0), "{level:?}: {y:?}");
        }
    }
}
