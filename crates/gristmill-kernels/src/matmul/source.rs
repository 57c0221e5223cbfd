//! The rows that products take: those that are there, or those with a norm applied on the way.

use std::cell::RefCell;
use std::ops::Range;

use super::kernels::TileShape;
use super::order::Order;
use crate::{Norm, Team};

/// Rows of activations.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    rows: &'a [f32],
    n_in: usize,
    norm: Option<Norm<'a>>,
}

thread_local! {
    /// A row after the norm.
    static NORMALIZED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl<'a> Source<'a> {
    /// The rows of `n_in` elements each, or what `norm` makes of them.
    pub(crate) fn new(rows: &'a [f32], n_in: usize, norm: Option<Norm<'a>>) -> Source<'a> {
        assert!(norm.is_none_or(|norm| norm.width() == n_in), "the width of the norm");
        Source { rows, n_in, norm }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.rows.len() / self.n_in
    }

    /// Calls `f(i, row)` for each of `rows`, `i` counting from 0.
    pub(crate) fn for_each(&self, rows: Range<usize>, mut f: impl FnMut(usize, &[f32])) {
        let rows = self.rows[rows.start * self.n_in..rows.end * self.n_in].chunks_exact(self.n_in);
        let Some(norm) = self.norm else {
            return rows.enumerate().for_each(|(i, row)| f(i, row));
        };
        NORMALIZED.with_borrow_mut(|normalized| {
            normalized.resize(self.n_in.max(normalized.len()), 0.0);
            let normalized = &mut normalized[..self.n_in];
            for (i, row) in rows.enumerate() {
                norm.apply(row, normalized);
                f(i, normalized);
            }
        });
    }

    /// Lays all rows out in tiles; `split` puts each of the `n_steps` steps of a row in its place.
    pub(crate) fn fill_tiles<T: Copy + Default + Send>(
        &self,
        team: &Team,
        n_steps: usize,
        shape: TileShape,
        tiles: &mut Vec<T>,
        split: impl Fn(&[f32], &mut Steps<'_, T>) + Sync,
    ) {
        let order = Order::new(n_steps, shape.cut);
        tiles.resize(self.n_rows() * order.n_places(), T::default());
        team.for_each_chunk_mut(tiles, shape.tokens * order.n_places(), &|i, tile| {
            let (first, n_tokens) = (i * shape.tokens, tile.len() / order.n_places());
            self.for_each(first..first + n_tokens, |token, row| {
                split(row, &mut Steps { tile: &mut *tile, order, n_tokens, token });
            });
        });
    }
}

/// The places of one token's steps in its tile.
pub(crate) struct Steps<'a, T> {
    tile: &'a mut [T],
    order: Order,
    n_tokens: usize,
    token: usize,
}

impl<T> Steps<'_, T> {
    #[inline(always)]
    pub(crate) fn step(&mut self, step: usize, value: T) {
        self.tile[self.order.place(step) * self.n_tokens + self.token] = value;
    }
}
