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
    /// It is compiled for its caller's instructions only if it and all that it calls is inlined. So whatever loops over
    /// elements says `inline(always)`, and is no closure, which cannot say so.
    fn encode(values: &[f32], blocks: &mut [u8]);
}

/// A set of vector instructions, the least first.
#[derive(Clone, Copy, Debug)]
enum Level {
    /// What every CPU of the target has.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    const ALL: &[Level] = &[
        Level::Portable,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512,
    ];

    /// Whether this CPU has the instructions.
    fn is_detected(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// Encodes with these instructions, which this CPU must have.
    fn encode<E: Encode>(self, values: &[f32], blocks: &mut [u8]) {
        assert!(self.is_detected(), "{self:?} on this CPU");
        match self {
            Level::Portable => encode_batches::<E>(values, blocks),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this CPU has them, as was asserted.
            Level::Avx2 => unsafe { avx2::<E>(values, blocks) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this CPU has them, as was asserted.
            Level::Avx512 => unsafe { avx512::<E>(values, blocks) },
        }
    }
}

/// Encodes whole blocks with the best instructions of this CPU.
pub(crate) fn encode<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    let (n_values, n_bytes) = (values.len(), blocks.len());
    let needed = E::DTYPE.row_bytes(n_values);
    assert!(needed == Some(n_bytes), "{n_values} values of {} and {n_bytes} bytes", E::DTYPE);
    let levels = Level::ALL.iter().rev();
    let best = levels.copied().find(|level| level.is_detected()).unwrap_or(Level::Portable);
    best.encode::<E>(values, blocks);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    encode_batches::<E>(values, blocks);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    encode_batches::<E>(values, blocks);
}

#[inline(always)]
fn encode_batches<E: Encode>(values: &[f32], blocks: &mut [u8]) {
    let n_bytes = E::BATCH / E::DTYPE.block_len() * E::DTYPE.block_bytes();
    for (values, blocks) in values.chunks(E::BATCH).zip(blocks.chunks_mut(n_bytes)) {
        E::encode(values, blocks);
    }
}

#[cfg(test)]
mod tests {
    use gristmill_testkit::Rng;

    use super::*;
    use crate::{IQ4_NL, IQ4_XS, MXFP4, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};

    /// All levels, on an odd number of blocks of all sizes of numbers, zeros among them.
    fn agree<E: Encode>() {
        let mut rng = Rng::new(11);
        let mut values = rng.normals(256 * 31, 0.02);
        for (number, block) in values.chunks_mut(64).enumerate() {
            let factor = 10f32.powi(number as i32 % 9 - 6);
            block.iter_mut().for_each(|x| *x = if rng.below(8) == 0 { 0.0 } else { *x * factor });
        }
        let encoded = |level: Level| {
            let mut blocks = vec![0xa5; E::DTYPE.row_bytes(values.len()).unwrap()];
            level.encode::<E>(&values, &mut blocks);
            blocks
        };
        let portable = encoded(Level::Portable);
        for level in Level::ALL.iter().filter(|level| level.is_detected()) {
            assert!(encoded(*level) == portable, "{} at {level:?}", E::DTYPE);
        }
    }

    #[test]
    fn every_level_gives_the_same_bytes() {
        agree::<Q2_K>();
        agree::<Q3_K>();
        agree::<Q4_K>();
        agree::<Q5_K>();
        agree::<Q6_K>();
        agree::<IQ4_NL>();
        agree::<IQ4_XS>();
        agree::<MXFP4>();
    }
}
