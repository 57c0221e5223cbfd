//! Products of weights as they are stored with activations: `y[t, o] = Σ_i w[o, i] x[t, i] (+ bias[o])`.
//!
//! The result is cut into ranges of rows of the weights, which the team claims one after the other. Each element is
//! computed by one thread in one order, so results are the same bit for bit however many threads there are.
//!
//! Each token's row is the same bit for bit whatever the other tokens are and how many: a single token takes another
//! kernel than several do, but both sum in the same [`order`]. The one exception are F16 and BF16 weights where the
//! CPU has a faster way for several tokens; [`Activations::deterministic`] does without it.

pub(crate) mod activations;
pub(crate) mod blocks;
mod float;
pub(crate) mod gemm;
pub(crate) mod kernels;
pub(crate) mod layout;
pub(crate) mod matrix;
pub(crate) mod order;
#[cfg(test)]
mod tests;

pub use activations::Activations;
pub use matrix::Matrix;

use crate::{Cut, Grid, Level, Team, level};
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
    matmul_joined(team, x, &mut [Product { weight, bias, y }]);
}

/// Several products of the same activations (q, k and v; gate and up) as one job of the team.
///
/// # Panics
/// As [`matmul`].
pub fn matmul_joined(team: &Team, x: &mut Activations, products: &mut [Product<'_>]) {
    matmul_at(level(), team, x, products);
}

/// Says that the products after the next ones, of a single token, begin with `weight`, so that it can be fetched while
/// nothing else is to be done.
pub fn look_ahead(team: &Team, weight: &Matrix) {
    let stretch = stretches(weight, team.n_threads(), false).wide;
    team.look_ahead(weight.bytes(), stretch * weight.row_bytes());
}

/// [`matmul_joined`] at a level this CPU has.
pub(crate) fn matmul_at(
    level: Level,
    team: &Team,
    x: &mut Activations,
    products: &mut [Product<'_>],
) {
    let (n_tokens, n_products) = (x.n_tokens(), products.len());
    let mut parts: Vec<(&Matrix, Option<&[f32]>, Kernel)> = Vec::with_capacity(products.len());
    let mut grids = Vec::with_capacity(products.len());
    for (i, Product { weight, bias, y }) in products.iter_mut().enumerate() {
        assert_eq!(weight.n_in(), x.n_in(), "{}: the width of the activations", weight.name());
        assert_eq!(y.len(), n_tokens * weight.n_out(), "{}: the size of the result", weight.name());
        assert!(
            bias.is_none_or(|bias| bias.len() == weight.n_out()),
            "{}: the size of the bias",
            weight.name()
        );
        let way = kernels_at(level, weight.dtype()).way(n_tokens, x.is_deterministic());
        x.make(team, level, way);
        parts.push((weight, *bias, way.kernel));
        let cut = if way.tiles.is_some() && n_tokens > SOME {
            Cut::every(PANEL)
        } else {
            stretches(weight, team.n_threads(), i + 1 == n_products)
        };
        grids.push(Grid { values: y, row_len: weight.n_out(), tile_rows: n_tokens, cut });
    }
    let x = &*x;
    team.for_each_tile_mut(&mut grids, &|number, mut tile| {
        let (weight, bias, kernel) = parts[number];
        let columns = tile.columns();
        let bytes =
            &weight.bytes()[columns.start * weight.row_bytes()..columns.end * weight.row_bytes()];
        let (dtype, row_bytes, n_in) = (weight.dtype(), weight.row_bytes(), weight.n_in());
        kernel(&Rows { dtype, bytes, row_bytes, n_in }, x, &mut tile);
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

/// Up to so many tokens it is the weights that take the most time, not the arithmetic.
const SOME: usize = 64;

/// The most rows that a kernel takes together.
const PANEL: usize = 32;

/// How the rows of a weight are divided for a few tokens: a long stretch for each thread, since memory is read fastest
/// from front to back; of the last weight of a job less than all, so that threads which were held up can be helped.
fn stretches(weight: &Matrix, n_threads: usize, is_last: bool) -> Cut {
    /// Of sixteen parts of a weight, those that are cut into long stretches.
    const LONG: usize = 12;
    /// What is worth a claim.
    const CLAIM_BYTES: usize = 16 << 10;
    let n_out = weight.n_out();
    let parts = if is_last { LONG } else { 16 };
    let wide = (n_out * parts / 16 / n_threads).max(1).next_multiple_of(PANEL);
    let rest = n_out.saturating_sub(n_threads * wide);
    let narrow = (rest / (4 * n_threads)).max(CLAIM_BYTES / weight.row_bytes());
    Cut { n_wide: n_threads, wide, narrow: narrow.max(1).next_multiple_of(PANEL) }
}
