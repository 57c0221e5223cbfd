//! From exact sums of blocks to floats: what products with one token and with many do alike, in the same order.

use super::ops::*;
use crate::matmul::activations::Group;

/// Adds to four lanes the products of four blocks of a row with quad `quad` of a token: the exact `products` times the
/// scales, and the minima, if there are any, times the sums of the activations.
#[inline(always)]
pub(super) fn add_scaled<const H: usize>(
    products: [int32x4_t; H],
    d: [float32x4_t; H],
    m: Option<[float32x4_t; H]>,
    x: &Group,
    quad: usize,
    mut sums: float32x4_t,
) -> float32x4_t {
    let d_x = vld1q_f32(&x.d.as_chunks().0[quad]);
    for h in 0..H {
        sums = vfmaq_f32(sums, vcvtq_f32_s32(products[h]), vmulq_f32(d[h], d_x));
        if let Some(m) = m {
            let sum_x = match H {
                1 => vld1q_f32(&x.dsum.as_chunks().0[quad]),
                _ => vmulq_f32(d_x, sum_of_codes(x, quad, h)),
            };
            sums = vfmaq_f32(sums, m[h], sum_x);
        }
    }
    sums
}

/// The sums of the codes of the first or the last halves of four blocks.
#[inline(always)]
fn sum_of_codes(x: &Group, quad: usize, h: usize) -> float32x4_t {
    let first = vld1q_s32(&x.init_first.as_chunks().0[quad]);
    let init = match h {
        0 => first,
        _ => vsubq_s32(vld1q_s32(&x.init.as_chunks().0[quad]), first),
    };
    vmulq_f32(vcvtq_f32_s32(init), vdupq_n_f32(-1.0 / 128.0))
}

/// The sum of the four lanes; the sum of a slice of a row.
#[inline(always)]
pub(super) fn total(sums: float32x4_t) -> f32 {
    let pairs = vpaddq_f32(sums, sums);
    let mut total = [0.0; 4];
    vst1q_f32(&mut total, vpaddq_f32(pairs, pairs));
    total[0]
}
