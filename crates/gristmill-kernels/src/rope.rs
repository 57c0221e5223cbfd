//! Rotary position embedding (Su et al., 2021): pairs of dimensions of each head are turned by an angle that grows
//! with the position.
//!
//! Angles and their sines are the same for all layers and heads, so they are computed once per pass into a
//! [`RopeTable`]. The angle is the product in single precision, as the models were trained; sine and cosine are
//! rounded from double precision.

use crate::Team;
use crate::elementwise::for_rows;
use crate::level::vector::{Kernel, Vector, dispatch};

/// Which dimensions of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairs {
    /// `(2i, 2i + 1)`.
    Neighbors,
    /// `(i, i + n_rot / 2)`.
    Halves,
}

/// Cosines and sines for the tokens of one pass.
#[derive(Clone, Debug, Default)]
pub struct RopeTable {
    n_pairs: usize,
    /// For each token, `n_pairs` cosines and then as many sines, both times the scale.
    turns: Vec<f32>,
}

impl RopeTable {
    /// An empty table.
    pub fn new() -> RopeTable {
        RopeTable::default()
    }

    /// Computes the table for the tokens at `positions`: pair `i` at position `p` is turned by `p * inv_freq[i]` and
    /// multiplied by `scale`.
    pub fn fill(&mut self, inv_freq: &[f32], scale: f32, positions: &[usize]) {
        self.n_pairs = inv_freq.len();
        self.turns.clear();
        for &position in positions {
            let angles = inv_freq.iter().map(|inv_freq| f64::from(position as f32 * inv_freq));
            self.turns.extend(angles.clone().map(|angle| angle.cos() as f32 * scale));
            self.turns.extend(angles.map(|angle| angle.sin() as f32 * scale));
        }
    }

    /// Rows of the table.
    pub fn n_tokens(&self) -> usize {
        self.turns.len() / (2 * self.n_pairs).max(1)
    }
}

/// Turns the first dimensions of every head in place. Row `i` of `x`, of `n_heads` heads of `head_dim` elements, is
/// the token in row `first + i` of the table.
///
/// # Panics
/// When `x` is not whole rows that the table covers, or a head has fewer dimensions than the table turns.
pub fn rope(
    team: &Team,
    x: &mut [f32],
    n_heads: usize,
    head_dim: usize,
    pairs: RopePairs,
    table: &RopeTable,
    first: usize,
) {
    let width = n_heads * head_dim;
    let turns_per_token = 2 * table.n_pairs;
    assert!(turns_per_token <= head_dim, "no more pairs than a head has");
    assert!(width > 0 && x.len().is_multiple_of(width), "whole rows");
    if table.n_pairs == 0 {
        return;
    }
    let turns = &table.turns[first * turns_per_token..][..x.len() / width * turns_per_token];
    for_rows(team, x, width, &|row, x| {
        let turns = &turns[row * turns_per_token..][..x.len() / width * turns_per_token];
        dispatch(Turn { x, width, head_dim, pairs, turns, turns_per_token });
    });
}

struct Turn<'a> {
    x: &'a mut [f32],
    width: usize,
    head_dim: usize,
    pairs: RopePairs,
    turns: &'a [f32],
    turns_per_token: usize,
}

impl Kernel for Turn<'_> {
    type Output = ();

    // The loops are simple enough for the compiler to vectorize for whatever level it compiles them.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let n_pairs = self.turns_per_token / 2;
        for (row, turns) in
            self.x.chunks_exact_mut(self.width).zip(self.turns.chunks_exact(self.turns_per_token))
        {
            let (cos, sin) = turns.split_at(n_pairs);
            for head in row.chunks_exact_mut(self.head_dim) {
                match self.pairs {
                    RopePairs::Neighbors => {
                        let (pairs, _) = head[..2 * n_pairs].as_chunks_mut::<2>();
                        for ((pair, cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
                            let [a, b] = *pair;
                            *pair = [a * cos - b * sin, a * sin + b * cos];
                        }
                    }
                    RopePairs::Halves => {
                        let (left, right) = head[..2 * n_pairs].split_at_mut(n_pairs);
                        for (((a, b), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns with complex multiplication in double precision, element by element.
    fn reference(
        x: &[f32],
        head_dim: usize,
        width: usize,
        inv_freq: &[f32],
        pairs: RopePairs,
        first: usize,
    ) -> Vec<f64> {
        let mut out: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for (t, row) in out.chunks_mut(width).enumerate() {
            for head in row.chunks_mut(head_dim) {
                for pair in 0..inv_freq.len() {
                    let (i, j) = match pairs {
                        RopePairs::Neighbors => (2 * pair, 2 * pair + 1),
                        RopePairs::Halves => (pair, pair + inv_freq.len()),
                    };
                    let (sin, cos) = f64::from((first + t) as f32 * inv_freq[pair]).sin_cos();
                    (head[i], head[j]) =
                        (head[i] * cos - head[j] * sin, head[i] * sin + head[j] * cos);
                }
            }
        }
        out
    }

    #[test]
    fn both_styles_turn_some_dimensions_and_leave_the_rest() {
        let (head_dim, n_heads, n_tokens, first) = (10, 3, 4, 1000);
        let inv_freq = [1.0, 0.1, 0.003];
        let width = head_dim * n_heads;
        let x: Vec<f32> =
            (0..n_tokens * width).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let mut table = RopeTable::new();
        let positions: Vec<usize> = (first..first + n_tokens).collect();
        table.fill(&inv_freq, 1.0, &positions);
        assert_eq!(table.n_tokens(), n_tokens);
        for pairs in [RopePairs::Neighbors, RopePairs::Halves] {
            let mut y = x.clone();
            rope(&Team::new(2), &mut y, n_heads, head_dim, pairs, &table, 0);
            for (i, (y, expected)) in
                y.iter().zip(reference(&x, head_dim, width, &inv_freq, pairs, first)).enumerate()
            {
                assert!(
                    (f64::from(*y) - expected).abs() < 1e-6,
                    "{pairs:?} {i}: {y} is not {expected}"
                );
                if i % head_dim >= 6 {
                    assert_eq!(*y, x[i]);
                }
            }
            // The last row alone, with its place in the table.
            let mut last = x[(n_tokens - 1) * width..].to_vec();
            rope(&Team::new(1), &mut last, n_heads, head_dim, pairs, &table, n_tokens - 1);
            assert_eq!(last, y[(n_tokens - 1) * width..]);
        }
    }

    #[test]
    fn position_zero_turns_nothing_and_the_scale_multiplies() {
        let mut table = RopeTable::new();
        table.fill(&[1.0], 2.0, &[0]);
        let mut x = [3.0, 4.0, 5.0];
        rope(&Team::new(1), &mut x, 1, 3, RopePairs::Neighbors, &table, 0);
        assert_eq!(x, [6.0, 8.0, 5.0]);
    }
}
