//! Causal self-attention over a cache: `softmax(scale * q kᵀ + bias) v`, one head at a time, without a score matrix.
//!
//! The softmax is streamed (Milakov & Gimelshein, 2018; Dao et al., 2022): each [`PAGE`] of keys gives a partial
//! result of its own, a maximum, a sum and weighted values, and partial results are merged in the order of the
//! pages. One token or many, one thread or many: every row of queries goes through exactly these steps, so its
//! result is always the same to the last bit.
//!
//! ```text
//!            queries: up to 8 rows (tokens x heads that share a key-value head)
//!  tile ─┬─ page 0 ─▶ scores ─▶ weights ─▶ partial ─┐
//!        ├─ page 1 ─▶ …                             ├─ merged in order ─▶ divided by the sum ─▶ out
//!        └─ page 2 ─▶ …                             ┘
//! ```
//!
//! A prefill has tiles enough for all threads, and each merges its pages as it goes. A decode step has few, so there
//! each page is a task and the partial results are merged at the end.

mod partial;

use std::cell::RefCell;

use crate::kv_cache::{Element, HeadShape, PAGE, Page, for_pages};
use crate::level::vector::{Kernel, Vector, dispatch};
use crate::team::{self, Grid};
use crate::{KvCache, Team};

use partial::{Partial, divide, merge_page, merge_part};

/// The numbers of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Query heads, a multiple of the cache's; head `h` uses key-value head `h / (n_head / n_head_kv)`.
    pub n_head: usize,
    /// Multiplies the products of queries and keys.
    pub scale: f32,
    /// ALiBi's slope of each query head (see [`alibi_slopes`]), or nothing: `slope * (key - query position)` is added
    /// to the scores.
    pub slopes: &'a [f32],
    /// Each token sees this many tokens at most, itself included.
    pub window: Option<usize>,
}

/// Rows of queries that share a pass over the keys: a page stays in the nearest cache while they go through it.
const TILE_ROWS: usize = 32;

/// Rows of queries that go through a page together, with all their sums in registers.
const BATCH_ROWS: usize = 8;

/// Less work than this (multiplications) is done by the caller alone: other threads would wait longer for its keys and
/// values to come out of its cache than the work takes.
const ALONE: usize = 1 << 19;

/// With fewer tiles than this, each page of each tile becomes a task.
const ENOUGH_TILES: usize = 16;

/// ALiBi's slope of each head (Press et al., 2021) for the largest exponent `max` (8 in the paper): powers of
/// `2^(-max / n)` for `n` heads, and for a number of heads that is no power of two, of its square root in between.
pub fn alibi_slopes(n_head: usize, max: f32) -> Vec<f32> {
    let n_floor = if n_head == 0 { 1 } else { 1usize << n_head.ilog2() };
    let exponent = |h: usize| {
        if h < n_floor {
            (h + 1) as f32 / n_floor as f32
        } else {
            (2 * (h - n_floor) + 1) as f32 / (2 * n_floor) as f32
        }
    };
    (0..n_head).map(|h| (-max * exponent(h)).exp2()).collect()
}

/// Attention of the tokens at positions from `first` on, whose keys and values the cache holds already.
///
/// `q` and `out` are `[n_tokens, n_head * head_dim]`. `scratch` is memory to be used again at the next call.
///
/// # Panics
/// When the lengths do not fit each other or the cache.
pub fn attend(
    team: &Team,
    attention: &Attention<'_>,
    cache: &KvCache,
    first: usize,
    q: &[f32],
    out: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let shape = cache.shape();
    let n_head = attention.n_head;
    let width = n_head * shape.head_dim;
    assert!(
        q.len() == out.len() && width > 0 && q.len().is_multiple_of(width),
        "whole rows of queries"
    );
    assert!(n_head.is_multiple_of(shape.n_head_kv), "every key-value head has as many query heads");
    assert!(attention.slopes.is_empty() || attention.slopes.len() == n_head, "a slope per head");
    assert!(first + q.len() / width <= cache.capacity(), "the keys are there");
    for_pages!(cache.pages(), pages => {
        attend_pages(team, attention, shape, pages, first, q, out, scratch);
    });
}

fn attend_pages<E: Element>(
    team: &Team,
    attention: &Attention<'_>,
    shape: HeadShape,
    pages: &[Page<E>],
    first: usize,
    q: &[f32],
    out: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let width = attention.n_head * shape.head_dim;
    let n_tokens = q.len() / width;
    let group = attention.n_head / shape.n_head_kv;
    let tile_tokens = (TILE_ROWS / group).max(1);
    let n_tiles = n_tokens.div_ceil(tile_tokens) * shape.n_head_kv;

    // The first page that the first token sees, and the end of those that the last one does.
    let first_page = attention.first_visible(first) / PAGE;
    let page_end = (first + n_tokens).div_ceil(PAGE);
    let n_pages = page_end - first_page;
    let n_products = 2 * q.len() * n_pages * PAGE;
    let team = if n_products < ALONE { Team::alone() } else { team };
    let n_parts = if n_tiles < ENOUGH_TILES { n_pages } else { 1 };
    let pages_per_part = n_pages / n_parts;

    let partial_len = tile_tokens * group * Partial::row_len(shape);
    let tile = |tile: usize, part: usize, state: &mut [f32]| {
        let token = tile / shape.n_head_kv * tile_tokens;
        let part_start = first_page + part * pages_per_part;
        dispatch(Tile {
            attention,
            shape,
            pages,
            part: part_start..part_start + pages_per_part,
            first,
            q,
            tokens: token..n_tokens.min(token + tile_tokens),
            head_kv: tile % shape.n_head_kv,
            state,
        });
    };

    // Partial results by tile and then by part, if tiles have several.
    let scratch_len = if n_parts > 1 { n_tiles * n_parts * partial_len } else { 0 };
    if scratch.len() < scratch_len {
        scratch.resize(scratch_len, 0.0);
    }
    let scratch = &mut scratch[..scratch_len];
    team.for_each_chunk_mut(scratch, partial_len, &|task, state| {
        tile(task / n_parts, task % n_parts, state);
    });

    let parts = &*scratch;
    let tile_columns = group * shape.head_dim;
    let grid = Grid { values: out, row_len: width, tile_rows: tile_tokens, tile_columns };
    team.for_each_tile_mut(&mut [grid], &|_, mut out| {
        let number =
            out.rows().start / tile_tokens * shape.n_head_kv + out.columns().start / tile_columns;
        STATE.with_borrow_mut(|state| {
            state.resize(partial_len.max(state.len()), 0.0);
            let state = &mut state[..partial_len];
            if n_parts > 1 {
                let parts = &parts[number * n_parts * partial_len..][..n_parts * partial_len];
                dispatch(Merge { parts, state, shape });
            } else {
                tile(number, 0, state);
            }
            dispatch(Finish { state, group, shape, out: &mut out });
        });
    });
}

thread_local! {
    /// A tile's partial results.
    static STATE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Attention<'_> {
    /// The first position that the token at `position` sees.
    #[inline(always)]
    fn first_visible(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// Some tokens' queries of the heads that share one key-value head, against some pages.
struct Tile<'a, E> {
    attention: &'a Attention<'a>,
    shape: HeadShape,
    pages: &'a [Page<E>],
    part: std::ops::Range<usize>,
    first: usize,
    q: &'a [f32],
    tokens: std::ops::Range<usize>,
    head_kv: usize,
    state: &'a mut [f32],
}

/// A row of queries in front of a page.
#[derive(Clone, Copy, Default)]
struct Row<'a> {
    q: &'a [f32],
    /// From the query to the page's first key.
    distance: f32,
    /// ALiBi's, or 0.
    slope: f32,
    /// The keys of the page that the row sees, from the first to before the last.
    visible: (usize, usize),
}

impl<E: Element> Kernel for Tile<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let n_rows = self.tokens.len() * self.group();
        let mut weights = [[0.0; PAGE]; BATCH_ROWS];
        Partial::of_rows(self.state, self.shape, 0, n_rows).clear();
        for page in self.part.clone() {
            let mut row = 0;
            // How many rows go together does not change what is computed for each.
            macro_rules! take_rows {
                ($($n:literal)*) => {$(
                    if $n <= V::ACCUMULATORS {
                        while n_rows - row >= $n {
                            self.rows::<V, $n>(page, row, &mut weights);
                            row += $n;
                        }
                    }
                )*};
            }
            take_rows!(8 6 4 3 2 1);
        }
    }
}

impl<E: Element> Tile<'_, E> {
    #[inline(always)]
    fn group(&self) -> usize {
        self.attention.n_head / self.shape.n_head_kv
    }

    /// Takes `N` rows, from `first_row` on, through a page.
    #[inline(always)]
    fn rows<V: Vector, const N: usize>(
        &mut self,
        page: usize,
        first_row: usize,
        weights: &mut [[f32; PAGE]],
    ) {
        let (group, head_dim, start) = (self.group(), self.shape.head_dim, page * PAGE);
        let mut rows = [Row::default(); N];
        for i in 0..N {
            let token = self.tokens.start + (first_row + i) / group;
            let head = self.head_kv * group + (first_row + i) % group;
            let position = self.first + token;
            let end = (position + 1).clamp(start, start + PAGE);
            rows[i] = Row {
                q: &self.q[(token * self.attention.n_head + head) * head_dim..][..head_dim],
                distance: start as f32 - position as f32,
                slope: self.attention.slopes.get(head).copied().unwrap_or(0.0),
                visible: (
                    self.attention.first_visible(position).clamp(start, end) - start,
                    end - start,
                ),
            };
        }
        let (scale, shape) = (self.attention.scale, self.shape);
        let head = &self.pages[page].head(shape, self.head_kv);
        // The first rows bring a page near for all others.
        let next = (first_row == 0).then(|| match self.pages.get(page + 1) {
            Some(next) => next.head(shape, self.head_kv).keys,
            None => &[],
        });
        let mut partial = Partial::of_rows(self.state, shape, first_row, N);
        merge_page::<V, E, N>(scale, shape, &rows, head, next, weights, &mut partial);
    }
}

/// The merging of the parts of a tile.
struct Merge<'a> {
    parts: &'a [f32],
    state: &'a mut [f32],
    shape: HeadShape,
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (first, others) = self.parts.split_at(self.state.len());
        self.state.copy_from_slice(first);
        for other in others.chunks_exact(self.state.len()) {
            merge_part::<V>(self.state, other, self.shape);
        }
    }
}

/// The last step: from a tile's sums to its part of the result.
struct Finish<'a, 't> {
    state: &'a [f32],
    group: usize,
    shape: HeadShape,
    out: &'a mut team::Tile<'t, f32>,
}

impl Kernel for Finish<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let mut rows = self.state.chunks_exact(Partial::row_len(self.shape));
        for token in self.out.rows() {
            let heads = self.out.row_mut(token).chunks_exact_mut(self.shape.head_dim);
            for (out, row) in heads.take(self.group).zip(&mut rows) {
                divide::<V>(row, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
