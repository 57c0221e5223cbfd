//! Sixteen floats in four NEON registers.

use std::array::from_fn;
use std::ops::{Add, Div, Mul, Sub};

use half::f16;

use super::{LANES, Vector};
use crate::level::neon::ops::*;

/// The vector of the NEON levels.
#[derive(Clone, Copy)]
pub(super) struct Floats([float32x4_t; 4]);

/// Four floats of the sixteen.
const QUARTER: usize = LANES / 4;

macro_rules! operators {
    ($($trait:ident $method:ident $instruction:ident;)*) => {$(
        impl $trait for Floats {
            type Output = Floats;

            #[inline(always)]
            fn $method(self, other: Floats) -> Floats {
                Floats(from_fn(|i| $instruction(self.0[i], other.0[i])))
            }
        }
    )*};
}

operators! {
    Add add vaddq_f32;
    Sub sub vsubq_f32;
    Mul mul vmulq_f32;
    Div div vdivq_f32;
}

impl Vector for Floats {
    // 24 of 32 registers.
    const ACCUMULATORS: usize = 6;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Floats([vdupq_n_f32(x); 4])
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        let x = x.as_chunks::<QUARTER>().0;
        Floats(from_fn(|i| vld1q_f32(&x[i])))
    }
    #[inline(always)]
    fn load_f16(x: &[f16; LANES]) -> Self {
        let x = x.as_chunks::<QUARTER>().0;
        Floats(from_fn(|i| widen_f16(&x[i])))
    }
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        for (out, x) in out.as_chunks_mut::<QUARTER>().0.iter_mut().zip(self.0) {
            vst1q_f32(out, x);
        }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Floats(from_fn(|i| vfmaq_f32(b.0[i], self.0[i], a.0[i])))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // `fmax` would give NaN where either is.
        other.select_less(self, self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.select_less(other, self, other)
    }
    #[inline(always)]
    fn round(self) -> Self {
        Floats(self.0.map(vrndnq_f32))
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        // The number, biased, is the exponent.
        let power = |n| {
            let biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_s32(biased, vdupq_n_s32(23)))
        };
        self * Floats(n.0.map(power))
    }
    #[inline(always)]
    fn select_less(self, limit: Self, then: Self, otherwise: Self) -> Self {
        Floats(from_fn(|i| vbslq_f32(vcgtq_f32(limit.0[i], self.0[i]), then.0[i], otherwise.0[i])))
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let mut columns = rows;
        for i in 0..4 {
            for j in 0..4 {
                let square = from_fn(|k| rows[4 * i + k].0[j]);
                for (k, column) in transpose_f32(square).into_iter().enumerate() {
                    columns[4 * j + k].0[i] = column;
                }
            }
        }
        columns
    }
}
