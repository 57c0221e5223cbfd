//! What must be done to a stored tensor besides renaming it: so far, putting rows into another order.
//!
//! Hugging Face stores each head of LLaMA's queries and keys in halves, so that rotary pairs are `(i, i + d/2)`; Meta,
//! ggml and this house store pairs side by side, `(2i, 2i + 1)`. For a head of `d` rows, `house_row(2i + s) =
//! stored_row(s * d/2 + i)` with `s` in `{0, 1}`; for `d = 8` the stored rows are taken in the order 0 4 1 5 2 6 3 7.
//! Whole rows move, so it costs no precision, quantized or not. Elements of biases count as rows.

use std::ops::Range;

use gristmill_tensor::Metadata;

use crate::hparams::Reader;
use crate::{Architecture, Error, Result};

/// From a checkpoint's tensor to the house's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transform {
    /// The same elements.
    Keep,
    /// Rotary pairs from halves to neighbours, in every head of this projection.
    InterleaveRope(Projection),
}

/// Which projection of an attention: queries and keys may differ in their number of heads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Projection {
    /// `n_head` heads.
    Query,
    /// `n_head_kv` heads.
    Key,
}

/// How many heads queries and keys have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heads {
    /// Heads of queries.
    pub n_head: usize,
    /// Heads of keys and values.
    pub n_head_kv: usize,
}

impl Heads {
    /// The numbers of heads by the metadata of a model of `arch`, which need not have its tensors yet.
    ///
    /// # Errors
    /// When they are missing, implausible or of the wrong type.
    pub fn from_metadata(arch: &dyn Architecture, metadata: &Metadata) -> Result<Heads> {
        Reader::new(arch.name(), metadata).heads()
    }

    fn of(self, projection: Projection) -> usize {
        match projection {
            Projection::Query => self.n_head,
            Projection::Key => self.n_head_kv,
        }
    }
}

/// For the wanted `rows` of the house's tensor, in order, the rows of the stored one that hold them. Of a vector, the
/// rows are its elements. All of them lie within the heads that `rows` touches.
///
/// # Errors
/// [`Error::Heads`] when the tensor's `n_rows` are not whole heads.
pub fn source_rows(
    transform: Transform,
    heads: Heads,
    rows: Range<usize>,
    n_rows: usize,
) -> Result<impl Iterator<Item = usize>> {
    // One "head" of one "half" leaves every row where it is.
    let (head_rows, half) = match transform {
        Transform::Keep => (1, 1),
        Transform::InterleaveRope(projection) => {
            let n_head = heads.of(projection);
            if n_head == 0 || n_rows == 0 || !n_rows.is_multiple_of(n_head.saturating_mul(2)) {
                return Err(Error::Heads { n_rows, n_head });
            }
            (n_rows / n_head, n_rows / n_head / 2)
        }
    };
    Ok(rows.map(move |row| {
        let (head, within) = (row / head_rows, row % head_rows);
        let (i, s) = (within / 2, within % 2);
        head * head_rows + s * half + i
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: Transform = Transform::InterleaveRope(Projection::Query);
    const KEY: Transform = Transform::InterleaveRope(Projection::Key);
    const HEADS: Heads = Heads { n_head: 4, n_head_kv: 2 };

    fn order(transform: Transform, rows: Range<usize>, n_rows: usize) -> Vec<usize> {
        source_rows(transform, HEADS, rows, n_rows).unwrap().collect()
    }

    #[test]
    fn halves_become_neighbours_in_every_head() {
        assert_eq!(order(KEY, 0..16, 16), [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
        assert_eq!(order(QUERY, 0..16, 16), [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15]);
        assert_eq!(order(Transform::Keep, 3..6, 16), [3, 4, 5]);
    }

    #[test]
    fn a_slab_is_a_part_of_the_whole() {
        let whole = order(KEY, 0..16, 16);
        for start in 0..16 {
            for end in start..16 {
                assert_eq!(order(KEY, start..end, 16), whole[start..end]);
            }
        }
    }

    #[test]
    fn every_row_is_taken_once() {
        let mut rows = order(QUERY, 0..24 * 8, 24 * 8);
        rows.sort_unstable();
        assert!(rows.into_iter().eq(0..24 * 8));
    }

    #[test]
    fn rows_that_are_not_whole_heads_are_refused() {
        for n_rows in [0, 6, 12, 17] {
            assert!(source_rows(QUERY, HEADS, 0..1, n_rows).is_err(), "{n_rows}");
        }
        let none = Heads { n_head: 0, n_head_kv: 0 };
        assert!(source_rows(QUERY, none, 0..1, 16).is_err());
        let huge = Heads { n_head: usize::MAX, n_head_kv: 1 };
        assert!(source_rows(QUERY, huge, 0..1, 16).is_err());
    }
}
