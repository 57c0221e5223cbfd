//! Products of weights as they are stored with activations: `y[t, o] = Σ_i w[o, i] x[t, i] (+ bias[o])`.
//!
//! The result is cut into ranges of rows of the weights, which the team claims one after the other. Each element is
//! computed by one thread in one order, so results are the same bit for bit however many threads there are.
//!
//! Each token's row is the same bit for bit whatever the other tokens are and how many: a single token takes another
//! kernel than several do, but both sum in the same [`order`]. The one exception are F16 and BF16 weights where the
//! CPU has faster ways; [`Activations::deterministic`] does without them.

pub(crate) mod activations;
pub(crate) mod blocks;
pub(crate) mod columns;
mod float;
pub(crate) mod gemm;
#[cfg(target_arch = "x86_64")]
pub(crate) mod gemv;
pub(crate) mod kernels;
pub(crate) mod layout;
pub(crate) mod matrix;
pub(crate) mod order;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod padding;
mod source;
#[cfg(test)]
mod tests;

pub use activations::Activations;
pub use matrix::Matrix;

use smallvec::SmallVec;

use crate::team::JOINED;
use crate::{Grid, Level, Norm, Team, level};
use kernels::{Kernel, Rows, kernels_at};

/// One of several products of the same activations; see [`matmul_joined`].
pub struct Product<'a> {
    /// The weight, `[n_out, n_in]`.
    pub weight: &'a Matrix,
    /// `n_out` elements added to every row of the result.
    pub bias: Option<&'a [f32]>,
    /// The result, `[n_tokens, n_out]`.
    pub y: &'a mut [f32],
}

/// `y[t * n_out + o] = Σ_i weight[o, i] x[t, i] (+ bias[o])` for any number of tokens.
///
/// # Panics
/// When the lengths do not fit each other.
pub fn matmul(
    team: &Team,
    weight: &Matrix,
    x: &mut Activations,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    matmul_joined(team, x, None, &mut [Product { weight, bias, y }]);
}

/// Several products of the same activations (q, k and v; gate and up), or of what `norm` makes of them, as one job of
/// the team.
///
/// # Panics
/// As [`matmul`], and when rows of the norm and of the activations differ in length.
pub fn matmul_joined(
    team: &Team,
    x: &mut Activations,
    norm: Option<Norm<'_>>,
    products: &mut [Product<'_>],
) {
    matmul_at(level(), team, x, norm, products);
}

/// Says that the products after the next ones, of a single token, are those with `weights`, so that their beginning can
/// be fetched while nothing else is to be done.
pub fn look_ahead<'a>(team: &Team, weights: impl Iterator<Item = &'a Matrix> + Clone) {
    let piece = Piece::new(team, weights.clone());
    let n_pieces = |weight: &Matrix| weight.n_out().div_ceil(piece.rows(weight));
    let n_tasks = weights.clone().map(n_pieces).sum();
    for number in 0..team.n_threads() {
        let mut task = team.first_task(number, n_tasks);
        for weight in weights.clone() {
            if task < n_pieces(weight) {
                let start = task * piece.rows(weight) * weight.row_bytes();
                team.look_ahead(number, &weight.bytes()[start..]);
                break;
            }
            task -= n_pieces(weight);
        }
    }
}

/// A weight, its bias and the kernel for it.
type Part<'a> = (&'a Matrix, Option<&'a [f32]>, Kernel);

/// [`matmul_joined`] at a level this CPU has.
pub(crate) fn matmul_at(
    level: Level,
    team: &Team,
    x: &mut Activations,
    norm: Option<Norm<'_>>,
    products: &mut [Product<'_>],
) {
    let n_tokens = x.n_tokens();
    let piece = Piece::new(team, products.iter().map(|product| product.weight));
    let mut parts: SmallVec<[Part<'_>; JOINED]> = SmallVec::new();
    let mut grids: SmallVec<[Grid<'_, f32>; JOINED]> = SmallVec::new();
    x.begin(norm);
    for Product { weight, bias, y } in products {
        assert_eq!(weight.n_in(), x.n_in(), "{}: the width of the activations", weight.name());
        assert_eq!(y.len(), n_tokens * weight.n_out(), "{}: the size of the result", weight.name());
        assert!(
            bias.is_none_or(|bias| bias.len() == weight.n_out()),
            "{}: the size of the bias",
            weight.name()
        );
        let way = kernels_at(level, weight.dtype()).way(n_tokens, x.is_deterministic());
        x.make(team, level, way, norm);
        parts.push((weight, *bias, way.kernel));
        let tile_columns = if way.tiles.is_some() { PANEL } else { piece.rows(weight) };
        grids.push(Grid { values: y, row_len: weight.n_out(), tile_rows: n_tokens, tile_columns });
    }
    let x = &*x;
    team.for_each_tile_mut(&mut grids, &|number, mut tile| {
        let (weight, bias, kernel) = parts[number];
        let columns = tile.columns();
        kernel(&Rows::of(weight, columns.clone()), x, &mut tile);
        if let Some(bias) = bias {
            for t in tile.rows() {
                tile.row_mut(t)
                    .iter_mut()
                    .zip(&bias[columns.clone()])
                    .for_each(|(y, bias)| *y += bias);
            }
        }
    });
}

/// The most rows that a kernel for many tokens takes together.
const PANEL: usize = 32;

/// How the rows of weights are divided among threads for a few tokens: small enough that all are done at the same time,
/// large enough that claiming takes no time.
struct Piece {
    n_bytes: usize,
}

impl Piece {
    /// For a job with `weights`.
    fn new<'a>(team: &Team, weights: impl Iterator<Item = &'a Matrix>) -> Piece {
        /// Pieces of each thread's share.
        const PIECES: usize = 16;
        let n_bytes: usize = weights.map(|weight| weight.bytes().len()).sum();
        Piece { n_bytes: (n_bytes / (PIECES * team.n_threads())).clamp(16 << 10, 128 << 10) }
    }

    /// The rows of a piece of `weight`.
    fn rows(&self, weight: &Matrix) -> usize {
        /// The most that a kernel for a few tokens takes together.
        const TOGETHER: usize = 16;
        (self.n_bytes / weight.row_bytes()).max(1).next_multiple_of(TOGETHER)
    }
}
