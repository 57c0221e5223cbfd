//! The activations that products share, in the forms that products need.
//!
//! Float weights take the rows as they are. Quantized weights take them as int8 in blocks of 32 with one scale each:
//! `x ≈ d * code` with `d = amax / 127`, both kept in f32, rounded to nearest even. That form is made once, by the
//! first product that needs it, and is the same bit for bit at every [`Level`].

use crate::{Level, Team};

/// Elements per block: those that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Blocks per [`Group`].
pub(crate) const GROUP: usize = 16;

/// Sixteen quantized blocks of one row, in the order that the vector units want.
///
/// Four blocks (a quad) fill two 64-byte registers: the first sixteen codes of each block, then the last sixteen, as
/// the low and high nibbles of stored 4-bit blocks come. Blocks past the end of a row are zero.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Group {
    /// Code `16 * half + i` of block `4 * quad + block` is `codes[quad][half][block][i]`.
    pub codes: [[[[i8; 16]; 4]; 2]; 4],
    /// The blocks' scales.
    pub d: [f32; GROUP],
    /// -128 times the sum of the block's codes: corrects products with weights that were stored plus 128, to make
    /// them unsigned.
    pub init: [i32; GROUP],
    /// The same for the first sixteen codes of the block, for weights with two scales per block.
    pub init_first: [i32; GROUP],
    /// The sum of the block's values, `d * Σ code`: what the minimum of a weight block is multiplied by.
    pub dsum: [f32; GROUP],
}

impl Group {
    pub(crate) const ZERO: Group = Group {
        codes: [[[[0; 16]; 4]; 2]; 4],
        d: [0.0; GROUP],
        init: [0; GROUP],
        init_first: [0; GROUP],
        dsum: [0.0; GROUP],
    };
}

/// The scale of a block whose largest magnitude has these bits, and its inverse.
///
/// Blocks below 2^-100 count as zero, since the inverse would overflow; a block that is not finite gets the scale
/// NaN and codes of zero, so that its products are NaN and nothing else goes wrong.
pub(crate) fn scale_and_inverse(amax_bits: u32) -> (f32, f32) {
    let amax = f32::from_bits(amax_bits);
    if !amax.is_finite() {
        (f32::NAN, 0.0)
    } else if amax < TINY {
        (0.0, 0.0)
    } else {
        (amax / 127.0, 127.0 / amax)
    }
}

/// 2^-100.
pub(crate) const TINY: f32 = f32::from_bits((127 - 100) << 23);

/// A matrix of `n_tokens` rows of `n_in` elements, in buffers that are kept from one use to the next.
#[derive(Default)]
pub struct Activations {
    n_in: usize,
    f32: Vec<f32>,
    int8: Vec<Group>,
    int8_is_made: bool,
}

impl Activations {
    /// No rows yet.
    pub fn new() -> Activations {
        Activations::default()
    }

    /// Takes a copy of `x`, whole rows of `n_in` elements.
    ///
    /// # Panics
    /// When `x` is not a whole, positive number of rows.
    pub fn load(&mut self, team: &Team, x: &[f32], n_in: usize) {
        assert!(n_in > 0 && !x.is_empty() && x.len().is_multiple_of(n_in), "whole rows");
        let rows = self.rows_mut(x.len() / n_in, n_in);
        const PIECE: usize = 1 << 16;
        team.for_each_chunk_mut(rows, PIECE, &|i, piece| {
            piece.copy_from_slice(&x[i * PIECE..][..piece.len()]);
        });
    }

    /// Makes room for `n_tokens` rows of `n_in` elements and gives it to be written, which saves the copy that
    /// [`load`](Self::load) makes. The elements hold anything before.
    ///
    /// # Panics
    /// When either is zero.
    pub fn rows_mut(&mut self, n_tokens: usize, n_in: usize) -> &mut [f32] {
        assert!(n_tokens > 0 && n_in > 0, "at least one row of one element");
        self.n_in = n_in;
        self.f32.resize(n_tokens * n_in, 0.0);
        self.int8_is_made = false;
        &mut self.f32
    }

    /// Elements per row.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Number of rows.
    pub fn n_tokens(&self) -> usize {
        self.f32.len() / self.n_in.max(1)
    }

    /// All rows, as they were loaded.
    pub fn rows(&self) -> &[f32] {
        &self.f32
    }

    /// Row `t`.
    pub(crate) fn row(&self, t: usize) -> &[f32] {
        &self.f32[t * self.n_in..][..self.n_in]
    }

    /// Row `t` in its int8 form, which [`make_int8`](Self::make_int8) has made.
    pub(crate) fn int8_row(&self, t: usize) -> &[Group] {
        debug_assert!(self.int8_is_made);
        let groups = self.groups_per_row();
        &self.int8[t * groups..][..groups]
    }

    fn groups_per_row(&self) -> usize {
        self.n_in.div_ceil(BLOCK * GROUP)
    }

    /// Makes the int8 form unless it is there.
    pub(crate) fn make_int8(&mut self, team: &Team, level: Level) {
        if self.int8_is_made {
            return;
        }
        let quantize = quantizer(level);
        let (groups, n_in, x) = (self.groups_per_row(), self.n_in, &self.f32);
        self.int8.resize(x.len() / n_in * groups, Group::ZERO);
        let tokens_per_task = (16384 / n_in).max(1);
        team.for_each_chunk_mut(&mut self.int8, groups * tokens_per_task, &|i, chunk| {
            let x = x[i * tokens_per_task * n_in..].chunks_exact(n_in);
            chunk.chunks_exact_mut(groups).zip(x).for_each(|(int8, x)| quantize(x, int8));
        });
        self.int8_is_made = true;
    }
}

/// Quantizes one row.
type Quantize = fn(&[f32], &mut [Group]);

fn quantizer(level: Level) -> Quantize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => crate::level::avx512::quantize,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => crate::level::avx2::quantize,
        _ => crate::level::portable::quantize,
    }
}
