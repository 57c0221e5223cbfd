//! Sixteen floats through the `wide` crate: SSE2 on x86, NEON on Arm, plain loops elsewhere.

use half::f16;
use half::slice::HalfFloatSliceExt;
use wide::f32x16;

use super::{LANES, Vector};

/// The vector of the portable level.
pub(super) type Floats = f32x16;

impl Vector for Floats {
    const ACCUMULATORS: usize = 2;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        f32x16::splat(x)
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        f32x16::new(*x)
    }
    #[inline(always)]
    fn load_f16(x: &[f16; LANES]) -> Self {
        let mut wide = [0.0; LANES];
        x.convert_to_f32_slice(&mut wide);
        f32x16::new(wide)
    }
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        *out = f32x16::to_array(self);
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f32x16::mul_add(self, a, b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        other.simd_lt(self).select(self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.simd_lt(other).select(self, other)
    }
    #[inline(always)]
    fn round(self) -> Self {
        self.round_ties_even()
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        // Added to 2^23, the number `n + 127` stands in the lowest bits, from where it becomes an exponent.
        let biased = n + f32x16::splat((1 << 23) as f32 + 127.0);
        self * f32x16::new(f32x16::to_array(biased).map(|x| f32::from_bits(x.to_bits() << 23)))
    }
    #[inline(always)]
    fn select_less(self, limit: Self, then: Self, otherwise: Self) -> Self {
        self.simd_lt(limit).select(then, otherwise)
    }
}
