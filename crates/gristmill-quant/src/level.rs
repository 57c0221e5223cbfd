//! The same encoder, compiled once for each set of vector instructions, and chosen at run time.
//!
//! Nothing is written twice and nothing differs in its result: there is no fused multiply-add and no reordered sum at
//! any level, only wider registers. The searches of the 256-element formats are several times faster for it.
#![allow(
    unsafe_code,
    reason = "code compiled for more instructions than the target has is unsafe to call"
)]

use crate::BlockFormat;

/// An encoder that is worth being compiled for wider registers.
pub(crate) trait Encode: BlockFormat {
    /// How many elements it takes at once; a whole number of blocks.
    const BATCH: usize;

    /// Encodes [`BATCH`](Encode::BATCH) values, or, at the end of a row, fewer.
    ///
    /// It is compiled for its caller's instructions only if it and all that it calls is inlined, so the heavy functions
    /// say `inline(always)`; a closure cannot, so no loop over elements stands in one that is used twice.
    fn encode(values: &[f32], blocks: &mut [u8]);
}

#[inline(always)]
fn encode_batches<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    let n_bytes = E::BATCH / E::DTYPE.block_len() * E::DTYPE.block_bytes();
    for (values, blocks) in values.chunks(E::BATCH).zip(blocks.chunks_mut(n_bytes)) {
        E::encode(values, blocks);
    }
}

/// Encodes with the best instructions of this CPU.
#[cfg(target_arch = "x86_64")]
pub(crate) fn encode<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    assert_eq!(
        Some(blocks.len()),
        E::DTYPE.row_bytes(values.len()),
        "a row of {} values is whole blocks",
        values.len()
    );

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<E: Encode>(values: &[f32], blocks: &mut [u8]) {
        encode_batches::<E>(values, blocks);
    }

    #[target_feature(enable = "avx2")]
    fn avx2<E: Encode>(values: &[f32], blocks: &mut [u8]) {
        encode_batches::<E>(values, blocks);
    }

    macro_rules! has { ($($feature:tt)*) => { $(is_x86_feature_detected!($feature) &&)* true } }
    if has!("avx512f" "avx512bw" "avx512dq" "avx512vl") {
        // SAFETY: the CPU has these instructions.
        unsafe { avx512::<E>(values, blocks) }
    } else if has!("avx2") {
        // SAFETY: the CPU has these instructions.
        unsafe { avx2::<E>(values, blocks) }
    } else {
        encode_batches::<E>(values, blocks);
    }
}

/// Encodes with the instructions that every CPU of the target has.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn encode<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    encode_batches::<E>(values, blocks);
}
