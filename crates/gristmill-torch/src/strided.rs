//! Tensors that do not lie in one piece: transposed, sliced, expanded.
//!
//! A [`Layout`] says where the elements of a tensor are in its storage: element `[i, j, …]` is at
//! `offset + i * strides[0] + j * strides[1] + …`. If that is the plain row-major order, rows are read as one range.
//! Otherwise they are gathered: the wanted rows are cut into boxes, the axes of a box are walked in the order of the
//! storage (so that the storage is read once, front to back, in pieces of [`AHEAD`] bytes, however the tensor is
//! turned), and each run along the closest axis is scattered to its places in the result. Memory beyond the result
//! is one piece.
//!
//! The arithmetic below cannot overflow: [`Layout::end`] has been computed with checks and lies inside the storage.

use std::cmp::Reverse;
use std::ops::Range;

use gristmill_tensor::{ByteSource, Bytes, Result};

/// How much of a storage is read at once while gathering.
const AHEAD: u64 = 1 << 20;

/// Distances between runs from which on it is better to read the runs alone: a call costs about as much as copying
/// this much.
const GAP: u64 = 16 << 10;

/// Where the elements of a tensor are in its storage. All numbers count elements.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Layout {
    pub(crate) dims: Vec<usize>,
    /// One for each of `dims`.
    pub(crate) strides: Vec<u64>,
    pub(crate) offset: u64,
}

impl Layout {
    /// Whether there are no elements.
    pub(crate) fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// One past the last element's place in the storage, 0 if there are no elements; `None` on overflow.
    pub(crate) fn end(&self) -> Option<u64> {
        if self.is_empty() {
            return Some(0);
        }
        let mut last = self.offset;
        for (&dim, &stride) in self.dims.iter().zip(&self.strides) {
            last = last.checked_add((dim as u64 - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// Whether the elements lie one after the other in row-major order.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut expected = 1u64;
        for (&dim, &stride) in self.dims.iter().zip(&self.strides).rev() {
            if dim != 1 && stride != expected {
                return false;
            }
            expected = expected.saturating_mul(dim as u64);
        }
        true
    }

    /// Reads `rows` (runs along the last dimension) of a tensor with elements of `width` bytes.
    pub(crate) fn read(
        &self,
        rows: Range<usize>,
        width: usize,
        storage: &dyn ByteSource,
    ) -> Result<Bytes> {
        let row_len = self.dims.last().copied().unwrap_or(1);
        if rows.is_empty() || row_len == 0 {
            return Ok(Bytes::from(Vec::new()));
        }
        if self.is_contiguous() {
            let at = |row: usize| (self.offset + row as u64 * row_len as u64) * width as u64;
            return storage.read(at(rows.start)..at(rows.end));
        }
        let mut result = vec![0; rows.len() * row_len * width];
        let mut rest = result.as_mut_slice();
        let outer = self.dims.split_last().map_or(&[][..], |(_, outer)| outer);
        let mut boxes = Vec::new();
        cut(outer, rows, &mut Vec::new(), &mut boxes);
        for mut spans in boxes {
            spans.push(0..row_len);
            let len = spans.iter().map(Range::len).product::<usize>() * width;
            let (part, after) = rest.split_at_mut(len);
            self.gather(&spans, width, storage, part)?;
            rest = after;
        }
        Ok(Bytes::from(result))
    }

    /// Copies the box `spans` of the tensor into `result`, row-major.
    fn gather(
        &self,
        spans: &[Range<usize>],
        width: usize,
        storage: &dyn ByteSource,
        result: &mut [u8],
    ) -> Result<()> {
        let mut start = self.offset;
        let mut axes = Vec::new();
        let mut target = 1;
        for (span, &stride) in spans.iter().zip(&self.strides).rev() {
            start += span.start as u64 * stride;
            axes.push(Axis { len: span.len(), source: stride, target });
            target *= span.len();
        }
        axes.retain(|axis| axis.len > 1);
        let (repeats, mut walked): (Vec<Axis>, Vec<Axis>) =
            axes.into_iter().partition(|axis| axis.source == 0);
        walked.sort_by_key(|axis| Reverse(axis.source));
        let run = walked.pop().unwrap_or(Axis { len: 1, source: 1, target: 1 });

        // A run is taken in pieces that fit the buffer; where its elements are far apart, one by one.
        let bytes_between = run.source * width as u64;
        let piece = if bytes_between >= GAP { 1 } else { AHEAD.div_ceil(bytes_between) as usize };
        let gap = walked.last().map_or(run.source, |axis| axis.source) * width as u64;
        let ahead = if storage.is_mapped() || gap >= GAP { 0 } else { AHEAD };
        let mut reader = Reader { storage, ahead, start: 0, bytes: Bytes::from(Vec::new()) };

        visit(&walked, start, 0, &mut |from, to| {
            for first in (0..run.len).step_by(piece) {
                let n = piece.min(run.len - first);
                let from = from + first as u64 * run.source;
                let end = from + (n as u64 - 1) * run.source + 1;
                let bytes = reader.read(from * width as u64..end * width as u64)?;
                visit(&repeats, 0, to + first * run.target, &mut |_, to| {
                    let places = &mut result[to * width..];
                    let scatter = match width {
                        1 => scatter::<1>,
                        2 => scatter::<2>,
                        4 => scatter::<4>,
                        _ => scatter::<8>,
                    };
                    scatter(&bytes, run.source as usize, places, run.target, n);
                    Ok(())
                })?;
            }
            Ok(())
        })
    }
}

/// Cuts a range of rows into boxes, in order. `outer` are the dimensions that rows are counted over.
fn cut(
    outer: &[usize],
    rows: Range<usize>,
    prefix: &mut Vec<Range<usize>>,
    boxes: &mut Vec<Vec<Range<usize>>>,
) {
    let Some((_, inner)) = outer.split_first() else {
        return boxes.push(prefix.clone());
    };
    let rows_each: usize = inner.iter().product();
    let (mut row, mut index) = (rows.start, rows.start / rows_each);
    while row < rows.end {
        let first = row - index * rows_each;
        let left = rows.end - row;
        let n_whole = left / rows_each;
        let (taken, n) = if first == 0 && n_whole > 0 {
            (0..rows_each, n_whole)
        } else {
            (first..rows_each.min(first + left), 1)
        };
        prefix.push(index..index + n);
        let n_rows = n * taken.len();
        cut(inner, taken, prefix, boxes);
        prefix.pop();
        row += n_rows;
        index += n;
    }
}

/// One dimension of a box: its length and the distances between neighbors, in elements.
struct Axis {
    len: usize,
    source: u64,
    target: usize,
}

/// Calls `each` with the places of every index of `axes`, the last axis fastest.
fn visit(
    axes: &[Axis],
    source: u64,
    target: usize,
    each: &mut dyn FnMut(u64, usize) -> Result<()>,
) -> Result<()> {
    let Some((axis, inner)) = axes.split_first() else {
        return each(source, target);
    };
    for i in 0..axis.len {
        visit(inner, source + i as u64 * axis.source, target + i * axis.target, each)?;
    }
    Ok(())
}

/// Copies `n` elements of `W` bytes, each `step` after the last, to places `stride` apart.
fn scatter<const W: usize>(from: &[u8], step: usize, to: &mut [u8], stride: usize, n: usize) {
    if step == 1 && stride == 1 {
        return to[..n * W].copy_from_slice(&from[..n * W]);
    }
    for i in 0..n {
        to[i * stride * W..][..W].copy_from_slice(&from[i * step * W..][..W]);
    }
}

/// Reads ranges that mostly go forwards, a larger piece at a time.
struct Reader<'a> {
    storage: &'a dyn ByteSource,
    ahead: u64,
    start: u64,
    bytes: Bytes,
}

impl Reader<'_> {
    fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        if range.start < self.start || range.end > self.start + self.bytes.len() as u64 {
            let end = range.end.max((range.start + self.ahead).min(self.storage.len()));
            self.bytes = self.storage.read(range.start..end)?;
            self.start = range.start;
        }
        let first = (range.start - self.start) as usize;
        Ok(self.bytes.slice(first..first + (range.end - range.start) as usize))
    }
}

#[cfg(test)]
mod tests;
