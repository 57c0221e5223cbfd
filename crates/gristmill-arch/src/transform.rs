//! What must be done to a stored tensor besides renaming it: putting rows into another order, or exchanging rows and
//! columns.
//!
//! - *Rotary pairs.* Hugging Face stores each head of LLaMA's queries and keys in halves, so that rotary pairs are
//!   `(i, i + d/2)`; Meta, ggml and this house store pairs side by side, `(2i, 2i + 1)`. For a head of `d` rows,
//!   `house_row(2i + s) = stored_row(s * d/2 + i)` with `s` in `{0, 1}`; for `d = 8` the stored rows are taken in the
//!   order 0 4 1 5 2 6 3 7.
//! - *Fused projections.* GPT-NeoX, BLOOM and Falcon store the queries, keys and values of one matrix in groups, one
//!   for each key head: the query heads that share it, the key head, the value head. The house has all queries, all
//!   keys, all values. With as many key heads as query heads a group is `q k v`; with one key head the orders agree.
//! - *Transposed matrices.* GPT-2 was written with one-dimensional convolutions, whose weights are `[n_in, n_out]`.
//!
//! Whole rows move in the first two, so they cost no precision, quantized or not; elements of biases count as rows.

use std::ops::Range;

use gristmill_tensor::{Metadata, Shape};

use crate::hparams::Reader;
use crate::{Architecture, Error, Result};

/// From a checkpoint's tensor to the house's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transform {
    /// The same elements.
    Keep,
    /// Rotary pairs from halves to neighbours, in every head of this projection.
    InterleaveRope(Projection),
    /// Rows of a fused projection from groups to all queries, all keys, all values.
    GroupedQkv,
    /// Rows become columns. A vector stays as it is.
    Transpose,
}

impl Transform {
    /// The shape of the house's tensor by that of the stored one, and the other way round.
    pub fn shape(self, shape: &Shape) -> Shape {
        match (self, shape.dims()) {
            (Transform::Transpose, &[rows, columns]) => [columns, rows].into(),
            _ => shape.clone(),
        }
    }
}

/// Which way a tensor is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the checkpoint's order to the house's.
    ToHouse,
    /// From the house's order to the checkpoint's.
    FromHouse,
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

/// For the wanted `rows` of the tensor that `direction` leads to, in order, the rows of the tensor it comes from that
/// hold them. Of a vector, the rows are its elements. [`Transform::Transpose`] moves elements and not rows: for this
/// function it is as good as [`Transform::Keep`].
///
/// # Errors
/// [`Error::Heads`] when the tensor's `n_rows` are not whole heads.
pub fn source_rows(
    transform: Transform,
    direction: Direction,
    heads: Heads,
    rows: Range<usize>,
    n_rows: usize,
) -> Result<impl ExactSizeIterator<Item = usize>> {
    let order = Order::of(transform, heads, n_rows)?;
    Ok(rows.map(move |row| match direction {
        Direction::ToHouse => order.stored(row),
        Direction::FromHouse => order.house(row),
    }))
}

/// A bijection between the house's rows and the stored ones.
#[derive(Clone, Copy)]
enum Order {
    Same,
    /// Heads of `2 * half` rows.
    Halves {
        half: usize,
    },
    /// Groups of `shared` query heads, a key head and a value head, each of `head_dim` rows.
    Groups {
        head_dim: usize,
        shared: usize,
        heads: Heads,
    },
}

impl Order {
    fn of(transform: Transform, heads: Heads, n_rows: usize) -> Result<Order> {
        let Heads { n_head, n_head_kv } = heads;
        // The rows of each of so many equal parts.
        let share = |parts: Option<usize>, n_head: usize| {
            parts
                .filter(|&parts| parts > 0 && n_rows > 0 && n_rows.is_multiple_of(parts))
                .map(|parts| n_rows / parts)
                .ok_or(Error::Heads { n_rows, n_head })
        };
        match transform {
            Transform::Keep | Transform::Transpose => Ok(Order::Same),
            Transform::InterleaveRope(projection) => {
                let n_head = heads.of(projection);
                Ok(Order::Halves { half: share(n_head.checked_mul(2), n_head)? })
            }
            Transform::GroupedQkv => {
                let n_heads = n_head_kv.checked_mul(2).and_then(|n| n.checked_add(n_head));
                let head_dim = share(n_heads, n_head)?;
                if n_head_kv == 0 || !n_head.is_multiple_of(n_head_kv) {
                    return Err(Error::Heads { n_rows, n_head });
                }
                Ok(Order::Groups { head_dim, shared: n_head / n_head_kv, heads })
            }
        }
    }

    /// Where the house's `row` is stored.
    fn stored(self, row: usize) -> usize {
        match self {
            Order::Same => row,
            Order::Halves { half } => {
                let (head, within) = (row / (2 * half), row % (2 * half));
                head * 2 * half + within % 2 * half + within / 2
            }
            Order::Groups { head_dim, shared, heads: Heads { n_head, n_head_kv } } => {
                let (head, within) = (row / head_dim, row % head_dim);
                let place = match head.checked_sub(n_head) {
                    None => head / shared * (shared + 2) + head % shared,
                    Some(key) if key < n_head_kv => key * (shared + 2) + shared,
                    Some(value) => (value - n_head_kv) * (shared + 2) + shared + 1,
                };
                place * head_dim + within
            }
        }
    }

    /// Where the stored `row` is in the house.
    fn house(self, row: usize) -> usize {
        match self {
            Order::Same => row,
            Order::Halves { half } => {
                let (head, within) = (row / (2 * half), row % (2 * half));
                head * 2 * half + within % half * 2 + within / half
            }
            Order::Groups { head_dim, shared, heads: Heads { n_head, n_head_kv } } => {
                let (place, within) = (row / head_dim, row % head_dim);
                let (group, member) = (place / (shared + 2), place % (shared + 2));
                let head = match member.checked_sub(shared) {
                    None => group * shared + member,
                    Some(0) => n_head + group,
                    Some(_) => n_head + n_head_kv + group,
                };
                head * head_dim + within
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUERY: Transform = Transform::InterleaveRope(Projection::Query);
    const KEY: Transform = Transform::InterleaveRope(Projection::Key);
    const HEADS: Heads = Heads { n_head: 4, n_head_kv: 2 };

    fn order(transform: Transform, rows: Range<usize>, n_rows: usize) -> Vec<usize> {
        source_rows(transform, Direction::ToHouse, HEADS, rows, n_rows).unwrap().collect()
    }

    fn whole(transform: Transform, direction: Direction, heads: Heads, n: usize) -> Vec<usize> {
        source_rows(transform, direction, heads, 0..n, n).unwrap().collect()
    }

    #[test]
    fn halves_become_neighbours_in_every_head() {
        assert_eq!(order(KEY, 0..16, 16), [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
        assert_eq!(order(QUERY, 0..16, 16), [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15]);
        assert_eq!(order(Transform::Keep, 3..6, 16), [3, 4, 5]);
    }

    #[test]
    fn groups_become_all_queries_all_keys_all_values() {
        // Two groups of two query heads, a key head and a value head, each of two rows.
        let expected = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15];
        assert_eq!(order(Transform::GroupedQkv, 0..16, 16), expected);
        // As many key heads as query heads: q k v of one head, then of the next.
        let heads = Heads { n_head: 2, n_head_kv: 2 };
        let found = whole(Transform::GroupedQkv, Direction::ToHouse, heads, 6);
        assert_eq!(found, [0, 3, 1, 4, 2, 5]);
        // One key head: nothing moves.
        let heads = Heads { n_head: 3, n_head_kv: 1 };
        let found = whole(Transform::GroupedQkv, Direction::ToHouse, heads, 10);
        assert!(found.into_iter().eq(0..10));
    }

    #[test]
    fn only_matrices_change_their_shape() {
        assert_eq!(Transform::Transpose.shape(&[2, 6].into()), [6, 2].into());
        assert_eq!(Transform::Transpose.shape(&[6].into()), [6].into());
        assert_eq!(Transform::GroupedQkv.shape(&[6, 2].into()), [6, 2].into());
    }

    #[test]
    fn a_slab_is_a_part_of_the_whole() {
        for transform in [KEY, Transform::GroupedQkv] {
            let whole = order(transform, 0..16, 16);
            for start in 0..16 {
                for end in start..16 {
                    assert_eq!(order(transform, start..end, 16), whole[start..end]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn there_and_back_every_row_is_where_it_was(
            n_head_kv in 1usize..5, shared in 1usize..5, half in 1usize..5,
        ) {
            let heads = Heads { n_head: n_head_kv * shared, n_head_kv };
            for (transform, n_heads) in [
                (Transform::Keep, 1),
                (Transform::Transpose, 1),
                (QUERY, heads.n_head),
                (KEY, n_head_kv),
                (Transform::GroupedQkv, heads.n_head + 2 * n_head_kv),
            ] {
                let n = n_heads * 2 * half;
                let there = whole(transform, Direction::ToHouse, heads, n);
                let back = whole(transform, Direction::FromHouse, heads, n);
                prop_assert!(back.iter().map(|&row| there[row]).eq(0..n));
                prop_assert!(there.iter().map(|&row| back[row]).eq(0..n));
            }
        }
    }

    #[test]
    fn rows_that_are_not_whole_heads_are_refused() {
        let refused = |transform, heads, n_rows| {
            source_rows(transform, Direction::ToHouse, heads, 0..1, n_rows).is_err()
        };
        for n_rows in [0, 6, 12, 17] {
            assert!(refused(QUERY, HEADS, n_rows), "{n_rows}");
        }
        for n_rows in [0, 4, 15] {
            assert!(refused(Transform::GroupedQkv, HEADS, n_rows), "{n_rows}");
        }
        for transform in [QUERY, Transform::GroupedQkv] {
            assert!(refused(transform, Heads { n_head: 0, n_head_kv: 0 }, 16));
            assert!(refused(transform, Heads { n_head: usize::MAX, n_head_kv: 1 }, 16));
        }
        assert!(refused(Transform::GroupedQkv, Heads { n_head: 3, n_head_kv: 2 }, 14));
    }
}
