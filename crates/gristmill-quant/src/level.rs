//! The same encoder, compiled once for each set of vector instructions, and chosen at run time.
//!
//! Nothing is written twice and nothing differs in its result: there is no fused multiply-add and no reordered sum at
//! any level, only wider registers. The searches of the 256-element formats are several times faster for it.
#![allow(unsafe_code, reason = "code compiled for more instructions than the target has is unsafe to call")]

/// An encoder that is worth being compiled for wider registers.
pub(crate) trait Encode {
    /// Encodes whole blocks. It must be inlined into whoever calls it, together with all that it calls, to be compiled
    /// for the caller's instructions.
    fn encode(values: &[f32], blocks: &mut [u8]);
}

/// Encodes with the best instructions of this CPU.
#[cfg(target_arch = "x86_64")]
pub(crate) fn encode<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<E: Encode>(values: &[f32], blocks: &mut [u8]) {
        E::encode(values, blocks);
    }

    #[target_feature(enable = "avx2")]
    fn avx2<E: Encode>(values: &[f32], blocks: &mut [u8]) {
        E::encode(values, blocks);
    }

    macro_rules! has { ($($feature:tt)*) => { $(is_x86_feature_detected!($feature) &&)* true } }
    if has!("avx512f" "avx512bw" "avx512dq" "avx512vl") {
        // SAFETY: the CPU has these instructions.
        unsafe { avx512::<E>(values, blocks) }
    } else if has!("avx2") {
        // SAFETY: the CPU has these instructions.
        unsafe { avx2::<E>(values, blocks) }
    } else {
        E::encode(values, blocks);
    }
}

/// Encodes with the instructions that every CPU of the target has.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn encode<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    E::encode(values, blocks);
}
