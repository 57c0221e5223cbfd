//! One page of keys and values for a few rows of queries, and the merging of partial results.
//!
//! A partial result is, per row, a maximum `m` of the scores, `l = Σ e^(score - m)` and `acc = Σ e^(score - m) v`.
//! Two of them merge with `M = max(m, m')` into `l e^(m - M) + l' e^(m' - M)`, and `acc` likewise.

use std::ops::Range;

use crate::kv_cache::{Element, HeadShape, PAGE};
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
#[inline(always)]
pub(super) fn merge_page<V: Vector, E: Element, const N: usize>(
    scale: f32,
    shape: HeadShape,
    rows: &[Row<'_>; N],
    keys: &[E],
    values: &[E],
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

    let blocks = first / LANES * LANES..end.next_multiple_of(LANES);
    product::<V, E, N>(&q, keys, PAGE, blocks.clone(), Scores { weights });

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

    let width = shape.value_width();
    let mut p: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        p[i] = &weights[i][first..end];
    }
    product::<V, E, N>(
        &p,
        &values[first * width..end * width],
        width,
        0..width,
        Sums { partial, keep, take },
    );
}

/// Where a product goes, sixteen columns of a row at a time.
///
/// This would be a closure, but closures cannot be told to be inlined.
trait Sink {
    fn put<V: Vector>(&mut self, row: usize, column: usize, sum: V);
}

/// The products of queries and keys are kept.
struct Scores<'a> {
    weights: &'a mut [[f32; PAGE]],
}

impl Sink for Scores<'_> {
    #[inline(always)]
    fn put<V: Vector>(&mut self, row: usize, column: usize, sum: V) {
        let (lanes, _) = self.weights[row][column..].as_chunks_mut::<LANES>();
        sum.store(&mut lanes[0]);
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

/// `Σ_k a[i][k] b[k, column]` for each row `i` and the columns of a range that starts and ends at multiples of
/// sixteen; `b` is row-major, `width` wide. Sums run over `k` in order.
#[inline(always)]
fn product<V: Vector, E: Element, const N: usize>(
    a: &[&[f32]; N],
    b: &[E],
    width: usize,
    columns: Range<usize>,
    mut sink: impl Sink,
) {
    let mut column = columns.start;
    macro_rules! take_columns {
        ($($n:literal)*) => {$(
            if $n == 1 || $n * N <= V::ACCUMULATORS {
                while columns.end - column >= $n * LANES {
                    let sums = tile::<V, E, N, $n>(a, b, width, column);
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
    b: &[E],
    width: usize,
    column: usize,
) -> [[V; M]; N] {
    let n = b.len() / width;
    let mut rows: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        rows[i] = &a[i][..n];
    }
    let mut sums = [[V::splat(0.0); M]; N];
    for (k, b) in b.chunks_exact(width).enumerate() {
        let (b, _) = b[column..column + M * LANES].as_chunks::<LANES>();
        let mut lanes = [V::splat(0.0); M];
        for j in 0..M {
            lanes[j] = E::load(&b[j]);
        }
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
