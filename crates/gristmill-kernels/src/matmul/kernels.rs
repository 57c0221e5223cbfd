//! The table of kernels: for every weight type and level, one for a single token and one for many.

use gristmill_tensor::DType;

use super::activations::Activations;
use super::float;
use crate::Tile;
use crate::level::{Level, portable};

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

    /// Some of the rows.
    pub(crate) fn part(&self, rows: std::ops::Range<usize>) -> Rows<'a> {
        let bytes = &self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes];
        Rows { bytes, ..*self }
    }

    /// The stored bytes of row `row`.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.row_bytes..][..self.row_bytes]
    }
}

/// The form of the activations that a kernel multiplies with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    F32,
    Int8,
}

/// Multiplies some rows of a weight with the activations. The tile's rows are the tokens, its columns the rows of the
/// weight.
pub(crate) type Kernel = fn(&Rows<'_>, &Activations, &mut Tile<'_, f32>);

/// How kernels for several tokens take activations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TileShape {
    /// Tokens that go side by side.
    pub tokens: usize,
    /// Chains in which the steps of a row are summed; see [`Order`](super::order::Order).
    pub chains: usize,
}

/// How weights of one type are multiplied at one level.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// What both need.
    pub form: Form,
    /// For a single token, if that has a kernel of its own: weights are read once, and memory sets the pace.
    pub gemv: Option<Kernel>,
    /// For several tokens: weights are unpacked once for all of them, and arithmetic sets the pace.
    pub gemm: Kernel,
    /// What `gemm` needs besides.
    pub shape: TileShape,
}

impl Kernels {
    /// The kernel for so many tokens, and whether it takes them in tiles.
    pub(crate) fn for_tokens(&self, n_tokens: usize) -> (Kernel, bool) {
        match self.gemv {
            Some(gemv) if n_tokens == 1 => (gemv, false),
            _ => (self.gemm, true),
        }
    }
}

/// The kernels of a level this CPU has, for a type that [`Matrix`](super::Matrix) accepts.
pub(crate) fn kernels_at(level: Level, dtype: DType) -> Kernels {
    let integer = match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => crate::level::avx512::kernels(dtype),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => crate::level::avx2::kernels(dtype),
        _ => portable::kernels(dtype),
    };
    integer.unwrap_or_else(|| float::kernels(level, dtype))
}
