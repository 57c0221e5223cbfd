//! Sixteen floats in two AVX2 registers.
#![expect(unsafe_code, reason = "intrinsics of a CPU that is known only at run time")]

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Sub};

use half::f16;

use super::{Kernel, LANES, Vector};

/// The vector of the AVX2 level. Only [`run`] leads to it.
#[derive(Clone, Copy)]
struct Floats(__m256, __m256);

/// Runs a kernel compiled for this level.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Floats>()
}

/// Applies an intrinsic to both halves.
macro_rules! both {
    ($f:ident($($x:expr),*)) => {
        Floats(
            // SAFETY: code with this type runs only inside `run`, whose caller has looked at the CPU.
            unsafe { $f($($x.0),*) },
            // SAFETY: as above.
            unsafe { $f($($x.1),*) },
        )
    };
}

macro_rules! operators {
    ($($trait:ident $method:ident $intrinsic:ident;)*) => {$(
        impl $trait for Floats {
            type Output = Floats;

            #[inline(always)]
            fn $method(self, other: Floats) -> Floats {
                both!($intrinsic(self, other))
            }
        }
    )*};
}

operators! {
    Add add _mm256_add_ps;
    Sub sub _mm256_sub_ps;
    Mul mul _mm256_mul_ps;
    Div div _mm256_div_ps;
}

impl Vector for Floats {
    const ACCUMULATORS: usize = 4;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: code with this type runs only inside `run`, whose caller has looked at the CPU.
        let half = unsafe { _mm256_set1_ps(x) };
        Floats(half, half)
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        let ([a, b], _) = x.as_chunks::<8>() else { unreachable!("sixteen are two times eight") };
        let halves = (a.as_ptr(), b.as_ptr());
        // SAFETY: the pointers are to eight floats each, and the CPU is as above.
        both!(_mm256_loadu_ps(halves))
    }
    #[inline(always)]
    fn load_f16(x: &[f16; LANES]) -> Self {
        let ([a, b], _) = x.as_chunks::<8>() else { unreachable!("sixteen are two times eight") };
        let halves = (a.as_ptr().cast::<__m128i>(), b.as_ptr().cast::<__m128i>());
        // SAFETY: the pointer is to eight halves, which are sixteen bytes, and the CPU is as above.
        let low = unsafe { _mm_loadu_si128(halves.0) };
        // SAFETY: as above.
        let high = unsafe { _mm_loadu_si128(halves.1) };
        let narrow = (low, high);
        both!(_mm256_cvtph_ps(narrow))
    }
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        let ([a, b], _) = out.as_chunks_mut::<8>() else {
            unreachable!("sixteen are two times eight")
        };
        // SAFETY: the pointer is to eight floats, and the CPU is as above.
        unsafe { _mm256_storeu_ps(a.as_mut_ptr(), self.0) };
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(b.as_mut_ptr(), self.1) };
    }
    #[inline(always)]
    fn store_f16(self, out: &mut [f16; LANES]) {
        let ([a, b], _) = out.as_chunks_mut::<8>() else {
            unreachable!("sixteen are two times eight")
        };
        // SAFETY: the CPU is as above.
        let low = unsafe { _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0) };
        // SAFETY: as above.
        let high = unsafe { _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.1) };
        // SAFETY: the pointer is to eight halves, which are sixteen bytes, and the CPU is as above.
        unsafe { _mm_storeu_si128(a.as_mut_ptr().cast(), low) };
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(b.as_mut_ptr().cast(), high) };
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        both!(_mm256_fmadd_ps(self, a, b))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        both!(_mm256_max_ps(self, other))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        both!(_mm256_min_ps(self, other))
    }
    #[inline(always)]
    fn round(self) -> Self {
        both!(round_half(self))
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        self * both!(power_of_two(n))
    }
    #[inline(always)]
    fn select_less(self, limit: Self, then: Self, otherwise: Self) -> Self {
        both!(select_half(self, limit, then, otherwise))
    }
}

/// To the nearest whole number.
#[inline]
#[target_feature(enable = "avx2")]
fn round_half(x: __m256) -> __m256 {
    _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x)
}

/// `2^n` for whole `n` from -126 to 127: the number, biased, is the exponent.
#[inline]
#[target_feature(enable = "avx2")]
fn power_of_two(n: __m256) -> __m256 {
    let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
}

/// `then` where `x < limit`, else `otherwise`.
#[inline]
#[target_feature(enable = "avx2")]
fn select_half(x: __m256, limit: __m256, then: __m256, otherwise: __m256) -> __m256 {
    _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_LT_OQ>(x, limit))
}
