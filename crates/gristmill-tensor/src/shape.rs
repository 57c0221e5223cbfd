//! Shapes: outermost dimension first, row-major, everywhere in memory.
//!
//! The reversed `ne` order of ggml exists only inside the readers and writers of its files.

use std::fmt;

/// The extents of a tensor, outermost first. A linear layer's weight is `[n_out, n_in]`; a scalar is `[]`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// A shape of these extents, outermost first.
    pub fn new(dims: impl Into<Vec<usize>>) -> Shape {
        Shape(dims.into())
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements; `None` on overflow. A scalar has one.
    pub fn checked_numel(&self) -> Option<usize> {
        self.0.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))
    }

    /// Number of elements.
    ///
    /// # Panics
    /// When the product overflows; shapes that a reader has accepted never do.
    pub fn numel(&self) -> usize {
        self.checked_numel().expect("readers accept only shapes whose product fits")
    }

    /// Elements per row: the innermost extent, 1 for a scalar.
    pub fn row_len(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// Number of rows: the product of all extents but the innermost. A vector is one row.
    pub fn rows(&self) -> usize {
        self.0.split_last().map_or(1, |(_, outer)| outer.iter().product())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Shape {
        Shape(dims.to_vec())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Shape {
    /// `[4096, 11008]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:?}", self.0))
    }
}
