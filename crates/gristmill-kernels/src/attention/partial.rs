//! One page of keys and values for a few rows of queries, and the merging of partial results.
//!
//! A partial result is, per row, a maximum `m` of the scores, `l = Σ e^(score - m)` and `acc = Σ e^(score - m) v`.
//! Two of them merge with `M = max(m, m')` into `l e^(m - M) + l' e^(m' - M)`, and `acc` likewise.

use std::ops::Range;

use crate::kv_cache::{BLOCK, Element, Head, HeadShape, PAGE};
use crate::level::prefetch::prefetch_second;
use crate::level::vector::{LANES, Vector};
use crate::math::exp;

use super::Row;

/// Partial results of some rows: for each row `acc`, padded to whole vectors, then `m` and `l`.
pub(super) struct Partial<'a> {
    rows: &'a mut [f32],
    row_len: usize,
}

impl<'a> Partial<'a> {
    /// Floats per row.
    pub(super) fn row_len(shape: HeadShape) -> usize {
        shape.value_width() + 2
    }

    /// Rows `first .. first + n` of `state`.
    pub(super) fn of_rows(
        state: &'a mut [f32],
        shape: HeadShape,
        first: usize,
        n: usize,
    ) -> Partial<'a> {
        let row_len = Partial::row_len(shape);
        Partial { rows: &mut state[first * row_len..][..n * row_len], row_len }
    }

    /// Makes every row the partial result of no keys.
    pub(super) fn clear(&mut self) {
        for row in self.rows.chunks_exact_mut(self.row_len) {
            row.fill(0.0);
            row[self.row_len - 2] = f32::NEG_INFINITY;
        }
    }
}

/// The factors of two partial results with maxima `m` and `other`, for up to sixteen rows, and the merged maxima.
#[inline(always)]
fn factors<V: Vector>(m: V, other: V) -> (V, V, V) {
    let merged = m.max(other);
    // Where neither saw a key, both factors are zero instead of NaN.
    let reference = merged.max(V::splat(f32::MIN));
    (merged, exp(m - reference), exp(other - reference))
}

/// Adds a page to the partial results of `N` rows. `weights` is memory to work in, a page per row.
///
/// While keys are multiplied the memory is asked for the values, and while these are, for `next`, the keys of the next
/// page: each is too short for a CPU that follows a stream by itself. Rows for which all of that is near have no `next`.
#[inline(always)]
pub(super) fn merge_page<V: Vector, E: Element, const N: usize>(
    scale: f32,
    shape: HeadShape,
    rows: &[Row<'_>; N],
    head: &Head<'_, E>,
    next: Option<&[E]>,
    weights: &mut [[f32; PAGE]],
    partial: &mut Partial<'_>,
) {
    let mut q: [&[f32]; N] = [&[]; N];
    let (mut first, mut end) = (PAGE, 0);
    for i in 0..N {
        q[i] = rows[i].q;
        if rows[i].visible.0 < rows[i].visible.1 {
            first = first.min(rows[i].visible.0);
            end = end.max(rows[i].visible.1);
        }
    }
    if first >= end {
        return;
    }

    let (width, n_blocks) = (shape.value_width(), shape.n_blocks());
    let values = &head.values[first * width..end * width];
    let blocks = first / LANES * LANES..end.next_multiple_of(LANES);
    let soon = if next.is_some() { values } else { &[] };
    multiply_keys::<V, E, N>(&q, head, blocks.clone(), soon, weights);

    let (mut maxima, mut sums) = ([f32::NEG_INFINITY; LANES], [0.0; LANES]);
    for i in 0..N {
        (maxima[i], sums[i]) = softmax::<V>(&mut weights[i], blocks.clone(), &rows[i], scale);
    }

    let (m, l) = (partial.row_len - 2, partial.row_len - 1);
    let mut old = [f32::NEG_INFINITY; LANES];
    for i in 0..N {
        old[i] = partial.rows[i * partial.row_len + m];
    }
    let (merged, keep, take) = factors(V::load(&old), V::load(&maxima));
    let (merged, keep, take) = (merged.to_array(), keep.to_array(), take.to_array());
    for i in 0..N {
        let row = &mut partial.rows[i * partial.row_len..][..partial.row_len];
        row[m] = merged[i];
        row[l] = row[l] * keep[i] + sums[i] * take[i];
    }

    let mut p: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        p[i] = &weights[i][first..end];
    }
    let scales = if E::SCALED { first * n_blocks..end * n_blocks } else { 0..0 };
    let values = Values { elements: values, width, scales: &head.value_scales[scales], n_blocks };
    let soon = next.unwrap_or_default();
    product::<V, E, N>(&p, &values, 0..width, soon, Sums { partial, keep, take });
}

/// The products of queries and keys, for the positions `columns`.
#[inline(always)]
fn multiply_keys<V: Vector, E: Element, const N: usize>(
    q: &[&[f32]; N],
    head: &Head<'_, E>,
    columns: Range<usize>,
    soon: &[E],
    weights: &mut [[f32; PAGE]],
) {
    if !E::SCALED {
        let sink = Scores { weights, scales: None };
        return product::<V, E, N>(q, &Keys(head.keys), columns, soon, sink);
    }
    for weights in &mut weights[..N] {
        weights[columns.clone()].fill(0.0);
    }
    let blocks = head.keys.chunks(BLOCK * PAGE).zip(head.key_scales.as_chunks().0);
    for (b, (keys, scales)) in blocks.enumerate() {
        let mut part: [&[f32]; N] = [&[]; N];
        for i in 0..N {
            part[i] = &q[i][b * BLOCK..];
        }
        let sink = Scores { weights, scales: Some(scales) };
        let soon = soon.get(b * BLOCK * PAGE..).unwrap_or_default();
        product::<V, E, N>(&part, &Keys(keys), columns.clone(), soon, sink);
    }
}

/// Where a product goes, sixteen columns of a row at a time.
///
/// This would be a closure, but closures cannot be told to be inlined.
trait Sink {
    fn put<V: Vector>(&mut self, row: usize, column: usize, sum: V);
}

/// The products of queries and keys are kept, or, if keys are codes, times their scales added to what is there.
struct Scores<'a> {
    weights: &'a mut [[f32; PAGE]],
    scales: Option<&'a [f32; PAGE]>,
}

impl Sink for Scores<'_> {
    #[inline(always)]
    fn put<V: Vector>(&mut self, row: usize, column: usize, sum: V) {
        let lanes = &mut self.weights[row][column..].as_chunks_mut::<LANES>().0[0];
        let sum = match self.scales {
            Some(scales) => {
                let scales = V::load(&scales[column..].as_chunks::<LANES>().0[0]);
                sum.mul_add(scales, V::load(lanes))
            }
            None => sum,
        };
        sum.store(lanes);
    }
}

/// The weighted values are merged into the partial results.
struct Sums<'a, 'p> {
    partial: &'a mut Partial<'p>,
    keep: [f32; LANES],
    take: [f32; LANES],
}

impl Sink for Sums<'_, '_> {
    #[inline(always)]
    fn put<V: Vector>(&mut self, row: usize, column: usize, sum: V) {
        let (lanes, _) =
            self.partial.rows[row * self.partial.row_len + column..].as_chunks_mut::<LANES>();
        merge_lanes(&mut lanes[0], sum, V::splat(self.keep[row]), V::splat(self.take[row]));
    }
}

/// `acc = acc * keep + other * take`.
#[inline(always)]
fn merge_lanes<V: Vector>(acc: &mut [f32; LANES], other: V, keep: V, take: V) {
    (V::load(acc) * keep + other * take).store(acc);
}

/// Turns a row's products of queries and keys, in the columns of `blocks`, into weights `e^(score - m)`, zero for
/// keys it does not see; gives `m` and the sum of the weights.
#[inline(always)]
fn softmax<V: Vector>(
    weights: &mut [f32; PAGE],
    blocks: Range<usize>,
    row: &Row<'_>,
    scale: f32,
) -> (f32, f32) {
    let mut counting = [0.0; LANES];
    for i in 0..LANES {
        counting[i] = i as f32;
    }
    let (scale, slope) = (V::splat(scale), V::splat(row.slope));
    let mut distance = V::load(&counting) + V::splat(row.distance + blocks.start as f32);
    for lanes in weights[blocks.clone()].as_chunks_mut::<LANES>().0 {
        (V::load(lanes) * scale + slope * distance).store(lanes);
        distance = distance + V::splat(LANES as f32);
    }
    let (first, end) = row.visible;
    weights[blocks.start..first.max(blocks.start)].fill(f32::NEG_INFINITY);
    weights[end.max(blocks.start)..blocks.end].fill(f32::NEG_INFINITY);

    let scores = &mut weights[blocks];
    let mut largest = V::splat(f32::NEG_INFINITY);
    for lanes in scores.as_chunks::<LANES>().0 {
        largest = V::load(lanes).max(largest);
    }
    let largest = largest.largest();
    // Where nothing is seen all weights are zero instead of NaN.
    let (reference, mut sum) = (V::splat(largest.max(f32::MIN)), V::splat(0.0));
    for lanes in scores.as_chunks_mut::<LANES>().0 {
        let weights = exp(V::load(lanes) - reference);
        weights.store(lanes);
        sum = sum + weights;
    }
    (largest, sum.sum())
}

/// The right-hand side of a product, a few vectors of a row at a time.
trait Rows {
    /// How many rows there are.
    fn len(&self) -> usize;

    /// `M` vectors of row `k`, from `column` on.
    fn load<V: Vector, const M: usize>(&self, k: usize, column: usize) -> [V; M];
}

/// Dimensions of keys, [`PAGE`] positions wide.
struct Keys<'a, E>(&'a [E]);

impl<E: Element> Rows for Keys<'_, E> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len() / PAGE
    }

    #[inline(always)]
    fn load<V: Vector, const M: usize>(&self, k: usize, column: usize) -> [V; M] {
        load(&self.0[k * PAGE..][..PAGE][column..])
    }
}

/// Positions of values, `width` dimensions wide, and their scales if they are codes.
struct Values<'a, E> {
    elements: &'a [E],
    width: usize,
    scales: &'a [f32],
    n_blocks: usize,
}

impl<E: Element> Rows for Values<'_, E> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.elements.len() / self.width
    }

    #[inline(always)]
    fn load<V: Vector, const M: usize>(&self, k: usize, column: usize) -> [V; M] {
        let mut lanes: [V; M] = load(&self.elements[k * self.width + column..]);
        if E::SCALED {
            // Several vectors are only taken from where a block begins.
            let scales = &self.scales[k * self.n_blocks + column / BLOCK..];
            for j in 0..M {
                lanes[j] = lanes[j] * V::splat(scales[j * LANES / BLOCK]);
            }
        }
        lanes
    }
}

/// The first `M` vectors of `x`.
#[inline(always)]
fn load<V: Vector, E: Element, const M: usize>(x: &[E]) -> [V; M] {
    let (x, _) = x[..M * LANES].as_chunks::<LANES>();
    let mut lanes = [V::splat(0.0); M];
    for j in 0..M {
        lanes[j] = E::load(&x[j]);
    }
    lanes
}

/// `Σ_k a[i][k] b[k, column]` for each row `i` and the columns of a range that starts and ends at multiples of
/// sixteen. Sums run over `k` in order. With each `k` the memory is asked for [`PAGE`] elements of what is needed `soon`.
#[inline(always)]
fn product<V: Vector, E: Element, const N: usize>(
    a: &[&[f32]; N],
    b: &impl Rows,
    columns: Range<usize>,
    soon: &[E],
    mut sink: impl Sink,
) {
    let mut column = columns.start;
    let (mut soon, _) = soon.as_chunks();
    macro_rules! take_columns {
        ($($n:literal)*) => {$(
            if $n == 1 || $n * N <= V::ACCUMULATORS {
                while columns.end - column >= $n * LANES {
                    let sums = tile::<V, E, N, $n>(a, b, column, soon);
                    soon = &[];
                    for i in 0..N {
                        for j in 0..$n {
                            sink.put(i, column + j * LANES, sums[i][j]);
                        }
                    }
                    column += $n * LANES;
                }
            }
        )*};
    }
    take_columns!(8 4 2 1);
}

/// The micro-kernel: `N` rows times `M` vectors of columns, all sums in registers.
#[inline(always)]
fn tile<V: Vector, E: Element, const N: usize, const M: usize>(
    a: &[&[f32]; N],
    b: &impl Rows,
    column: usize,
    soon: &[[E; PAGE]],
) -> [[V; M]; N] {
    let n = b.len();
    let mut rows: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        rows[i] = &a[i][..n];
    }
    let mut sums = [[V::splat(0.0); M]; N];
    for k in 0..n {
        if let Some(row) = soon.get(k) {
            prefetch_second(row);
        }
        let lanes: [V; M] = b.load(k, column);
        for i in 0..N {
            let a = V::splat(rows[i][k]);
            for j in 0..M {
                sums[i][j] = a.mul_add(lanes[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Merges the partial results of another part of the keys, which comes after those merged so far.
#[inline(always)]
pub(super) fn merge_part<V: Vector>(merged: &mut [f32], other: &[f32], shape: HeadShape) {
    let row_len = Partial::row_len(shape);
    let (m, l) = (row_len - 2, row_len - 1);
    for (row, other) in merged.chunks_exact_mut(row_len).zip(other.chunks_exact(row_len)) {
        let (maximum, keep, take) = factors(V::splat(row[m]), V::splat(other[m]));
        row[m] = maximum.to_array()[0];
        row[l] = row[l] * keep.to_array()[0] + other[l] * take.to_array()[0];
        let (acc, other) = (row[..m].as_chunks_mut::<LANES>().0, other[..m].as_chunks::<LANES>().0);
        for (acc, other) in acc.iter_mut().zip(other) {
            merge_lanes(acc, V::load(other), keep, take);
        }
    }
}

/// The attention of a row of queries: its weighted values divided by the sum of the weights.
#[inline(always)]
pub(super) fn divide<V: Vector>(row: &[f32], out: &mut [f32]) {
    let sum = V::splat(row[row.len() - 1]);
    for (out, acc) in out.chunks_mut(LANES).zip(row.as_chunks::<LANES>().0) {
        out.copy_from_slice(&(V::load(acc) / sum).to_array()[..out.len()]);
    }
}
