//! A stored tensor and its description.

use crate::{Bytes, DType, Shape};

/// A tensor's name, type and shape: all that is known before anything is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorInfo {
    /// The name in its file or, after renaming, the house's (GGUF's).
    pub name: String,
    /// How the elements are stored.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Shape,
}

impl TensorInfo {
    /// A description; see the fields.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Shape>) -> TensorInfo {
        TensorInfo { name: name.into(), dtype, shape: shape.into() }
    }

    /// Bytes of one row.
    ///
    /// # Panics
    /// When the row is not whole blocks; readers refuse such tensors.
    pub fn row_bytes(&self) -> usize {
        self.dtype
            .row_bytes(self.shape.row_len())
            .expect("readers accept only rows of whole blocks")
    }

    /// Bytes of the whole tensor; `None` when a row is not whole blocks or the product overflows.
    pub fn checked_bytes(&self) -> Option<u64> {
        let outer = self.shape.dims().split_last().map_or(&[][..], |(_, outer)| outer);
        let rows = outer.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64))?;
        rows.checked_mul(self.dtype.row_bytes(self.shape.row_len())? as u64)
    }

    /// Bytes of the whole tensor.
    ///
    /// # Panics
    /// As [`row_bytes`](Self::row_bytes).
    pub fn n_bytes(&self) -> u64 {
        self.checked_bytes().expect("readers accept only tensors whose size fits")
    }
}

/// A tensor with its bytes: row-major, little-endian.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// What it is.
    pub info: TensorInfo,
    /// `info.n_bytes()` bytes.
    pub bytes: Bytes,
}
