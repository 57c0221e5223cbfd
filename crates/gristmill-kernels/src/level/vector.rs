//! Sixteen floats at once, for everything that is not a product with weights: attention, norms, activations.
//!
//! A formula is written once, generic over [`Vector`], as the body of a [`Kernel`]; [`dispatch`] compiles that body
//! once for each level and runs the copy that suits this CPU. The types that implement [`Vector`] are named only
//! here, so their instructions cannot be reached on a CPU that lacks them.
//!
//! Bodies and helpers must be `#[inline(always)]`: what is not inlined into the trampoline of a level is compiled
//! for the least CPU of the target.
#![expect(
    unsafe_code,
    reason = "calls functions that are compiled for more than the least CPU of the target"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::ops::{Add, Div, Mul, Sub};

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::{Level, level};

/// Elements of a [`Vector`].
pub(crate) const LANES: usize = 16;

/// Sixteen floats. Comparisons treat NaN as "no".
pub(crate) trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// How many of these the registers of the CPU hold as running sums, with room left for the operands.
    const ACCUMULATORS: usize;

    /// The same number sixteen times.
    fn splat(x: f32) -> Self;
    /// From memory.
    fn load(x: &[f32; LANES]) -> Self;
    /// From memory, widened.
    fn load_f16(x: &[f16; LANES]) -> Self;
    /// From memory, widened.
    #[inline(always)]
    fn load_i8(x: &[i8; LANES]) -> Self {
        Self::load(&x.map(f32::from))
    }
    /// To memory.
    fn store(self, out: &mut [f32; LANES]);
    /// To memory, as the nearest in half precision, ties to even.
    #[inline(always)]
    fn store_f16(self, out: &mut [f16; LANES]) {
        out.convert_from_f32_slice(&self.to_array());
    }
    /// `self * a + b`, fused where the CPU can.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The larger of each pair; `other` where one is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller of each pair; `other` where one is NaN.
    fn min(self, other: Self) -> Self;
    /// To the nearest whole number, halves to the even one.
    fn round(self) -> Self;
    /// `self * 2^n` for whole `n` from -126 to 127.
    fn scale_by_power(self, n: Self) -> Self;
    /// `then` where `self < limit`, else `otherwise`.
    fn select_less(self, limit: Self, then: Self, otherwise: Self) -> Self;

    /// Element `j` of vector `i` becomes element `i` of vector `j`.
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let rows = rows.map(Self::to_array);
        std::array::from_fn(|j| Self::load(&std::array::from_fn(|i| rows[i][j])))
    }

    /// The elements.
    #[inline(always)]
    fn to_array(self) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        self.store(&mut out);
        out
    }

    /// The sum of all elements, always added in the same order.
    #[inline(always)]
    fn sum(self) -> f32 {
        let mut x = self.to_array();
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                x[i] += x[i + half];
            }
            half /= 2;
        }
        x[0]
    }

    /// The largest element that is not NaN, or minus infinity.
    #[inline(always)]
    fn largest(self) -> f32 {
        let mut largest = f32::NEG_INFINITY;
        for x in self.to_array() {
            largest = if x > largest { x } else { largest };
        }
        largest
    }
}

/// Work whose body is compiled once for each level.
pub(crate) trait Kernel {
    /// What the work gives.
    type Output;

    /// Does the work with vectors of the type `V`. Implementations are `#[inline(always)]`.
    fn run<V: Vector>(self) -> Self::Output;
}

/// Runs `kernel` with the vectors of the level in use.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the level in use is an available one.
    unsafe { dispatch_unchecked(level(), kernel) }
}

/// Runs `kernel` with the vectors of `level`.
///
/// # Panics
/// When the CPU does not have the level.
#[inline]
pub(crate) fn dispatch_at<K: Kernel>(level: Level, kernel: K) -> K::Output {
    assert!(level.is_available(), "a level of this CPU");
    // SAFETY: it is available.
    unsafe { dispatch_unchecked(level, kernel) }
}

/// Runs `kernel` with the vectors of `level`.
///
/// # Safety
/// The level is available.
#[inline(always)]
unsafe fn dispatch_unchecked<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the level, says the caller.
        Level::Avx512 => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 | Level::AvxVnni => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::NeonDotprod | Level::NeonI8mm => kernel.run::<neon::Floats>(),
        _ => kernel.run::<portable::Floats>(),
    }
}
