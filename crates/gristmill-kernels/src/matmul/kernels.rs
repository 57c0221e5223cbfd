//! The table of kernels: for every weight type and level, one for a single token and one for many.

use super::activations::Activations;
use super::dequantized;
use crate::level::{Level, portable};
use crate::Tile;
use gristmill_tensor::DType;

/// Some rows of a weight. `bytes` is a whole number of rows of `row_bytes`, each `n_in` elements of `dtype`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub dtype: DType,
    pub bytes: &'a [u8],
    pub row_bytes: usize,
    pub n_in: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn n_rows(&self) -> usize {
        self.bytes.len() / self.row_bytes
    }

    /// The stored bytes of each row.
    pub(crate) fn iter(&self) -> std::slice::ChunksExact<'a, u8> {
        self.bytes.chunks_exact(self.row_bytes)
    }
}

/// The form of the activations that a kernel multiplies with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    F32,
    Int8,
}

/// The product with the only row of the activations; `y` has one element per row of the weights.
pub(crate) type Gemv = fn(&Rows<'_>, &Activations, &mut [f32]);

/// The product with all rows of the activations, written to the tile's columns, one per row of the weights.
pub(crate) type Gemm = fn(&Rows<'_>, &Activations, &mut Tile<'_, f32>);

/// How weights of one type are multiplied at one level.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    pub form: Form,
    pub gemv: Gemv,
    pub gemm: Gemm,
}

/// The kernels of a level this CPU has for a type that [`Matrix`](super::Matrix) accepts.
pub(crate) fn kernels_at(level: Level, dtype: DType) -> Kernels {
    own_kernels(level, dtype).unwrap_or_else(|| dequantized::kernels(level))
}

/// The kernels that take the type as it is stored, if the level has them.
fn own_kernels(level: Level, dtype: DType) -> Option<Kernels> {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => crate::level::avx512::kernels(dtype),
        _ => portable::kernels(dtype),
    }
}
