//! One token: four blocks of a row give four exact sums in four lanes, which one fused multiplication scales.

use std::marker::PhantomData;

use super::multiply::{Multiply, Work, whole};
use super::ops::*;
use super::unpack::Stored;
use super::{CHAINS, add_scaled};
use crate::level::prefetch::Stream;
use crate::matmul::activations::Group;
use crate::matmul::kernels::Rows;
use crate::matmul::padding::Padding;

/// Rows whose sums are added up at once.
const ROWS: usize = 4;

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
        let starts = (0..self.rows.n_rows()).step_by(ROWS);
        let mut padding = Padding::new();
        for (start, y) in starts.zip(self.y.chunks_mut(ROWS)) {
            let mut sums = [[vdupq_n_f32(0.0); ROWS]; 2];
            for i in 0..y.len() {
                let chains = chains::<M, S, H>(self.rows.row(start + i), self.x, &mut padding);
                for q in 0..2 {
                    sums[q][i] = chains[q];
                }
            }
            // The chains' sums are added one after the other, four rows at once.
            let mut total = vdupq_n_f32(0.0);
            for chain in sums.into_iter().flat_map(transpose_f32) {
                total = vaddq_f32(total, chain);
            }
            let mut values = [0.0; ROWS];
            vst1q_f32(&mut values, total);
            y.copy_from_slice(&values[..y.len()]);
        }
    }
}

/// The sums of the eight chains of a row: those of the blocks `c`, `c + 8` and so on.
#[inline(always)]
fn chains<M: Multiply, S: Stored<H>, const H: usize>(
    row: &[u8],
    x: &[Group],
    padding: &mut Padding,
) -> [float32x4_t; 2] {
    let mut sums = [vdupq_n_f32(0.0); 2];
    for (i, eight) in row.chunks(S::EIGHT_BYTES).enumerate() {
        Stream::Nearest.ask(eight, S::EIGHT_BYTES);
        let eight = padding.whole(eight, S::EIGHT_BYTES);
        add_eight::<M, S, H>(eight, &x[i / 2], i % 2, &mut sums);
    }
    sums
}

/// Adds the products of eight blocks, the first or second half of a group, to the eight sums.
#[inline(always)]
fn add_eight<M: Multiply, S: Stored<H>, const H: usize>(
    eight: &[u8],
    x: &Group,
    part: usize,
    sums: &mut [float32x4_t; 2],
) {
    assert!(eight.len() == S::EIGHT_BYTES, "all eight are there");
    let (d, m) = (S::scales(eight), S::minima(eight));
    for q in 0..2 {
        let quad = 2 * part + q;
        let mut partial = [[vdupq_n_s32(0); 4]; H];
        for b in 0..4 {
            for half in 0..2 {
                let codes = S::codes(eight, 4 * q + b, half);
                let sums = &mut partial[half * (H - 1)][b];
                *sums = M::dot(*sums, codes, vld1q_s8(&x.codes[quad][half][b]));
            }
        }
        let d_x = vld1q_f32(&x.d.as_chunks().0[quad]);
        for h in 0..H {
            let m = S::HAS_MIN.then(|| (m[h][q], sum_of_x::<H>(x, quad, h)));
            sums[q] = add_scaled(sums[q], whole(partial[h]), vmulq_f32(d[h][q], d_x), m);
        }
    }
}

/// The sums of the activations of four blocks, or of their first or last halves.
#[inline(always)]
fn sum_of_x<const H: usize>(x: &Group, quad: usize, h: usize) -> float32x4_t {
    let d = vld1q_f32(&x.d.as_chunks().0[quad]);
    if H == 1 {
        return vmulq_f32(d, vld1q_f32(&x.sum.as_chunks().0[quad]));
    }
    let first = vld1q_s32(&x.init_first.as_chunks().0[quad]);
    let init = match h {
        0 => first,
        _ => vsubq_s32(vld1q_s32(&x.init.as_chunks().0[quad]), first),
    };
    let sum_of_codes = vmulq_f32(vcvtq_f32_s32(init), vdupq_n_f32(-1.0 / 128.0));
    vmulq_f32(d, sum_of_codes)
}

const _: () = assert!(CHAINS == 8, "the lanes of two registers");
