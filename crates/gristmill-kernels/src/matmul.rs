//! Products of weights as they are stored with activations: `y[t, o] = Σ_i w[o, i] x[t, i] (+ bias[o])`.

mod activations;
mod matrix;

pub use activations::Activations;
pub use matrix::Matrix;

use crate::{Grid, Team};

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
pub fn matmul(team: &Team, weight: &Matrix, x: &mut Activations, bias: Option<&[f32]>, y: &mut [f32]) {
    matmul_joined(team, x, &mut [Product { weight, bias, y }]);
}

/// Several products of the same activations (q, k and v; gate and up) as one job of the team.
///
/// # Panics
/// As [`matmul`].
pub fn matmul_joined(team: &Team, x: &mut Activations, products: &mut [Product<'_>]) {
    let n_tokens = x.n_tokens();
    let mut weights = Vec::new();
    let mut grids = Vec::new();
    for Product { weight, bias, y } in products {
        assert_eq!(weight.n_in(), x.n_in(), "{}: the width of the activations", weight.name());
        assert_eq!(y.len(), n_tokens * weight.n_out(), "{}: the size of the result", weight.name());
        assert!(bias.is_none_or(|bias| bias.len() == weight.n_out()), "{}: the size of the bias", weight.name());
        weights.push((*weight, *bias));
        grids.push(Grid { values: y, row_len: weight.n_out(), tile_rows: n_tokens, tile_columns: 16 });
    }
    let x = &*x;
    team.for_each_tile_mut(&mut grids, &|number, mut tile| {
        let (weight, bias) = weights[number];
        let mut row = vec![0.0; weight.n_in()];
        for o in tile.columns() {
            weight.row_f32(o, &mut row);
            for t in 0..n_tokens {
                let x = &x.rows()[t * x.n_in()..][..x.n_in()];
                let sum: f32 = row.iter().zip(x).map(|(w, x)| w * x).sum();
                let first = tile.columns().start;
                tile.row_mut(t)[o - first] = sum + bias.map_or(0.0, |bias| bias[o]);
            }
        }
    });
}
