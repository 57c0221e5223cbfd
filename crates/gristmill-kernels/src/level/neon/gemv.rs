//! One token: four blocks of a row give four exact sums in four lanes, which one fused multiplication scales.

use std::array::from_fn;
use std::marker::PhantomData;

use super::gemm::SLICE;
use super::multiply::{Multiply, Work, block_sums};
use super::ops::*;
use super::scale::{add_scaled, total};
use super::unpack::Stored;
use crate::matmul::activations::Group;
use crate::matmul::kernels::Rows;

/// One product per row of weights stored as `S`.
pub(super) struct Gemv<'a, S, const H: usize> {
    pub(super) rows: &'a Rows<'a>,
    pub(super) x: &'a [Group],
    pub(super) y: &'a mut [f32],
    pub(super) stored: PhantomData<S>,
}

impl<S: Stored<H>, const H: usize> Work for Gemv<'_, S, H> {
    #[inline(always)]
    fn run<M: Multiply>(self) {
        for (row, y) in self.rows.iter().zip(self.y) {
            // Slice by slice, as the products with many tokens go, so that both give the same bits.
            for (i, weights) in row.chunks(SLICE * S::EIGHT_BYTES).enumerate() {
                let x = &self.x[i * SLICE / 2..];
                let mut sums = vdupq_n_f32(0.0);
                let eights = weights.chunks_exact(S::EIGHT_BYTES);
                let rest = eights.remainder();
                for (e, eight) in eights.enumerate() {
                    sums = add_eight::<M, S, H, true>(eight, &x[e / 2], e % 2, sums);
                }
                if !rest.is_empty() {
                    let e = weights.len() / S::EIGHT_BYTES;
                    sums = add_eight::<M, S, H, false>(rest, &x[e / 2], e % 2, sums);
                }
                let sum = total(sums);
                *y = if i == 0 { sum } else { *y + sum };
            }
        }
    }
}

/// Adds the products of eight blocks, the first or second half of a group, to the four sums.
#[inline(always)]
fn add_eight<M: Multiply, S: Stored<H>, const H: usize, const FULL: bool>(
    eight: &[u8],
    x: &Group,
    part: usize,
    sums: float32x4_t,
) -> float32x4_t {
    assert!(!FULL || eight.len() == S::EIGHT_BYTES, "all eight are there");
    let (d, m) = (S::scales(eight), S::minima(eight));
    let mut sums = sums;
    for q in 0..2 {
        let w = from_fn(|b| [0, 1].map(|half| S::codes(eight, 4 * q + b, half)));
        let quad = 2 * part + q;
        let products = block_sums::<M, H>(w, &x.codes[quad]);
        let m = S::HAS_MIN.then(|| m.map(|m| m[q]));
        sums = add_scaled(products, d.map(|d| d[q]), m, x, quad, sums);
    }
    sums
}
