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

use crate::elementwise::for_rows;
use crate::kv_cache::{Element, HeadShape, PAGE, Pages};
use crate::level::vector::{Kernel, Vector, dispatch};
use crate::{KvCache, Team};

use partial::{Partial, divide, merge_page, merge_parts};

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
    match cache.pages() {
        Pages::F16(pages) => attend_pages(team, attention, shape, pages, first, q, out, scratch),
        Pages::F32(pages) => attend_pages(team, attention, shape, pages, first, q, out, scratch),
    }
}

fn attend_pages<E: Element>(
    team: &Team,
    attention: &Attention<'_>,
    shape: HeadShape,
    pages: &[Vec<E>],
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
    let n_parts = if n_tiles < ENOUGH_TILES { n_pages } else { 1 };
    let pages_per_part = n_pages / n_parts;

    // Partial results by tile and then by part.
    let partial_len = tile_tokens * group * Partial::row_len(shape);
    let scratch_len = n_tiles * n_parts * partial_len;
    if scratch.len() < scratch_len {
        scratch.resize(scratch_len, 0.0);
    }
    let scratch = &mut scratch[..scratch_len];
    team.for_each_chunk_mut(scratch, partial_len, &|task, state| {
        let (tile, part) = (task / n_parts, task % n_parts);
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
    });

    let tile_len = n_parts * partial_len;
    if n_parts > 1 {
        for_rows(team, scratch, tile_len, &|_, tiles| {
            dispatch(Merge { tiles, tile_len, partial_len, shape })
        });
    }
    let tiles = &*scratch;
    for_rows(team, out, width, &|first_token, out| {
        dispatch(Finish {
            tiles,
            tile_len,
            tile_tokens,
            n_head: attention.n_head,
            shape,
            first_token,
            out,
        });
    });
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
    pages: &'a [Vec<E>],
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
        let (keys, values) = self.shape.head(&self.pages[page], self.head_kv);
        let mut partial = Partial::of_rows(self.state, self.shape, first_row, N);
        merge_page::<V, E, N>(
            self.attention.scale,
            self.shape,
            &rows,
            keys,
            values,
            weights,
            &mut partial,
        );
    }
}

/// The merging of the parts of some tiles, each into its first.
struct Merge<'a> {
    tiles: &'a mut [f32],
    tile_len: usize,
    partial_len: usize,
    shape: HeadShape,
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for tile in self.tiles.chunks_exact_mut(self.tile_len) {
            merge_parts::<V>(tile, self.partial_len, self.shape);
        }
    }
}

/// The last step: from the tiles' sums to rows of the result, beginning with token `first_token`.
struct Finish<'a> {
    tiles: &'a [f32],
    tile_len: usize,
    tile_tokens: usize,
    n_head: usize,
    shape: HeadShape,
    first_token: usize,
    out: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let HeadShape { n_head_kv, head_dim } = self.shape;
        let (group, row_len) = (self.n_head / n_head_kv, Partial::row_len(self.shape));
        for (i, out) in self.out.chunks_exact_mut(head_dim).enumerate() {
            let (token, head) = (self.first_token + i / self.n_head, i % self.n_head);
            let tile = token / self.tile_tokens * n_head_kv + head / group;
            let row = token % self.tile_tokens * group + head % group;
            divide::<V>(&self.tiles[tile * self.tile_len + row * row_len..][..row_len], out);
        }
    }
}

#[cfg(test)]
mod tests;
