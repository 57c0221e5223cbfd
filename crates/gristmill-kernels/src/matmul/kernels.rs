//! The table of kernels: for every weight type and level, one for a few tokens and one for many.

use std::ops::Range;

use gristmill_tensor::DType;

use super::activations::Activations;
use super::float;
use super::gemm::{TileKernel, gemm};
use super::matrix::Matrix;
use super::order::Cut;
use crate::Tile;
use crate::level::{Level, portable};

/// Some rows of a weight. `bytes` is a whole number of rows of `row_bytes`, each `n_in` elements of `dtype`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub dtype: DType,
    pub bytes: &'a [u8],
    pub row_bytes: usize,
    pub n_in: usize,
    /// What follows in the weight, which is likely to be read next.
    pub after: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Those rows of a weight.
    pub(crate) fn of(weight: &'a Matrix, rows: Range<usize>) -> Rows<'a> {
        let (dtype, row_bytes, n_in) = (weight.dtype(), weight.row_bytes(), weight.n_in());
        let bytes = &weight.bytes()[rows.start * row_bytes..];
        let (bytes, after) = bytes.split_at(rows.len() * row_bytes);
        Rows { dtype, bytes, row_bytes, n_in, after }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.bytes.len() / self.row_bytes
    }

    /// The stored bytes of each row.
    pub(crate) fn iter(&self) -> std::slice::ChunksExact<'a, u8> {
        self.bytes.chunks_exact(self.row_bytes)
    }

    /// Some of the rows.
    pub(crate) fn part(&self, rows: Range<usize>) -> Rows<'a> {
        let bytes = &self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes];
        Rows { bytes, after: self.after(rows.end, self.bytes.len()), ..*self }
    }

    /// Up to `n_bytes` of what follows the first `n_rows` rows: more rows, or else what comes after all of them.
    pub(crate) fn after(&self, n_rows: usize, n_bytes: usize) -> &'a [u8] {
        let more = &self.bytes[n_rows * self.row_bytes..];
        let after = if more.is_empty() { self.after } else { more };
        &after[..n_bytes.min(after.len())]
    }

    /// The stored bytes of row `row`.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.row_bytes..][..self.row_bytes]
    }

    /// The stored bytes of row `row` and of those that follow: kernels that take whole groups of blocks may reach into
    /// the next row, whose blocks they leave out of account.
    pub(crate) fn from(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.row_bytes..]
    }
}

/// The form of the activations that a kernel multiplies with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    F32,
    /// Blocks of 32 with a scale: one byte per element.
    Int8,
    /// Blocks of 32 with a scale: fourteen bits per element.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX-512 multiplies these faster")
    )]
    Int16,
    /// F16, with a power of two for each row.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX-512 multiplies these")
    )]
    F16,
    /// BF16.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only some CPUs with AVX-512 multiply these")
    )]
    Bf16,
}

/// Multiplies some rows of a weight with the activations. The tile's rows are the tokens, its columns the rows of the
/// weight.
pub(crate) type Kernel = fn(&Rows<'_>, &Activations, &mut Tile<'_, f32>);

/// How kernels for several tokens take activations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TileShape {
    /// Tokens that go side by side.
    pub tokens: usize,
    /// How the steps of a row are summed; see [`Order`](super::order::Order).
    pub cut: Cut,
}

impl TileShape {
    /// As many tiles as `n_tokens` need, but of even size.
    pub(crate) fn balanced(self, n_tokens: usize) -> TileShape {
        let n_tiles = n_tokens.div_ceil(self.tokens);
        TileShape { tokens: n_tokens.div_ceil(n_tiles), ..self }
    }
}

/// A kernel and the activations it takes.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub kernel: Kernel,
    pub form: Form,
    /// Nothing for a kernel that takes rows.
    pub tiles: Option<TileShape>,
}

impl Way {
    /// By tiles.
    pub(crate) fn tiles<K: TileKernel>() -> Way {
        Way { kernel: gemm::<K>, form: K::FORM, tiles: Some(K::SHAPE) }
    }
}

/// How weights of one type are multiplied at one level.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// A few tokens: weights are read once, and memory sets the pace.
    pub few: Way,
    /// How many are a few.
    pub n_few: usize,
    /// More tokens, with the same bits for each as if it came alone: weights are unpacked once for all of them, and
    /// arithmetic sets the pace.
    pub many: Way,
    /// Faster ways, if they have other bits.
    pub fast: Option<Fast>,
}

/// Ways for which a token's bits depend on whether it comes alone.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only AVX-512 has other ways for 16-bit weights")
)]
pub(crate) struct Fast {
    pub one: Way,
    pub many: Way,
}

impl Kernels {
    /// The way for so many tokens.
    pub(crate) fn way(&self, n_tokens: usize, same_bits: bool) -> Way {
        let way = match self.fast {
            Some(fast) if !same_bits && n_tokens == 1 => fast.one,
            Some(fast) if !same_bits => fast.many,
            _ if n_tokens <= self.n_few => self.few,
            _ => self.many,
        };
        Way { tiles: way.tiles.map(|shape| shape.balanced(n_tokens)), ..way }
    }
}

/// The kernels of a level this CPU has, for a type that [`Matrix`](super::Matrix) accepts.
pub(crate) fn kernels_at(level: Level, dtype: DType) -> Kernels {
    let own = match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => crate::level::avx512::kernels(dtype),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::AvxVnni => crate::level::avx2::kernels(level, dtype),
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::NeonDotprod | Level::NeonI8mm => {
            crate::level::neon::kernels(level, dtype)
        }
        _ => portable::kernels(dtype),
    };
    own.unwrap_or_else(|| float::kernels(level, dtype))
}
