//! Sixteen floats in one AVX-512 register.
#![expect(unsafe_code, reason = "intrinsics of a CPU that is known only at run time")]

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Sub};

use half::f16;

use super::{Kernel, LANES, Vector};
use crate::level::avx512::transpose::transpose as transpose_dwords;

/// The vector of the AVX-512 level. Only [`run`] leads to it.
#[derive(Clone, Copy)]
struct Floats(__m512);

/// Runs a kernel compiled for this level.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Floats>()
}

macro_rules! operators {
    ($($trait:ident $method:ident $intrinsic:ident;)*) => {$(
        impl $trait for Floats {
            type Output = Floats;

            #[inline(always)]
            fn $method(self, other: Floats) -> Floats {
                // SAFETY: code with this type runs only inside `run`, whose caller has looked at the CPU.
                Floats(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    )*};
}

operators! {
    Add add _mm512_add_ps;
    Sub sub _mm512_sub_ps;
    Mul mul _mm512_mul_ps;
    Div div _mm512_div_ps;
}

impl Vector for Floats {
    const ACCUMULATORS: usize = 16;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: code with this type runs only inside `run`, whose caller has looked at the CPU.
        Floats(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: the pointer is to sixteen floats, and the CPU is as above.
        Floats(unsafe { _mm512_loadu_ps(x.as_ptr()) })
    }
    #[inline(always)]
    fn load_f16(x: &[f16; LANES]) -> Self {
        // SAFETY: the pointer is to sixteen halves, which are 32 bytes, and the CPU is as above.
        let narrow = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
        // SAFETY: the CPU is as above.
        Floats(unsafe { _mm512_cvtph_ps(narrow) })
    }
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        // SAFETY: the pointer is to sixteen floats, and the CPU is as above.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), self.0) };
    }
    #[inline(always)]
    fn store_f16(self, out: &mut [f16; LANES]) {
        // SAFETY: the CPU is as above.
        let narrow = unsafe { _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0) };
        // SAFETY: the pointer is to sixteen halves, which are 32 bytes, and the CPU is as above.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), narrow) };
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: the CPU is as above.
        Floats(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: the CPU is as above.
        Floats(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: the CPU is as above.
        Floats(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: the CPU is as above.
        Floats(unsafe {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)
        })
    }
    #[inline(always)]
    fn scale_by_power(self, n: Self) -> Self {
        // SAFETY: the CPU is as above.
        Floats(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }
    #[inline(always)]
    fn select_less(self, limit: Self, then: Self, otherwise: Self) -> Self {
        // SAFETY: the CPU is as above.
        let less = unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, limit.0) };
        // SAFETY: the CPU is as above.
        Floats(unsafe { _mm512_mask_blend_ps(less, otherwise.0, then.0) })
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        // SAFETY: the CPU is as above.
        unsafe { transpose(rows) }
    }
}

/// [`Vector::transpose`] in 64 shuffles.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [Floats; LANES]) -> [Floats; LANES] {
    let mut bits = [_mm512_setzero_si512(); LANES];
    for i in 0..LANES {
        bits[i] = _mm512_castps_si512(rows[i].0);
    }
    let bits = transpose_dwords(bits);
    let mut columns = rows;
    for i in 0..LANES {
        columns[i] = Floats(_mm512_castsi512_ps(bits[i]));
    }
    columns
}
