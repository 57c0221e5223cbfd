//! MXFP4: 32 elements in 17 bytes, 4.25 bits per weight; the OCP microscaling format of GPT-OSS.
//!
//! ```text
//! │ e: u8, a power of two │ qs: 16 bytes, nibbles as in Q4_0 │      x ≈ 2^(e - 128) · TWICE_E2M1[code]
//! ```
//!
//! Codes are 4-bit floats: a sign, two bits of exponent, one of mantissa. The table holds twice their value, to keep
//! it whole, and the scale half of it.

use gristmill_tensor::DType;

use crate::block::decode_blocks;
use crate::lanes::Lanes;
use crate::level::{self, Encode};
use crate::pack::{pack_nibbles, unpack_nibbles};
use crate::{BlockFormat, Quantize};

/// Twice the value of each code; ggml has no negative zero here.
const TWICE_E2M1: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// 4-bit floats with a power of two per 32.
pub struct MXFP4;

impl BlockFormat for MXFP4 {
    const DTYPE: DType = DType::MXFP4;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 17], values: &mut [f32; 32]| {
            let scale = half_of_power(block[0]);
            let codes = unpack_nibbles(&block[1..]);
            *values = codes.map(|code| TWICE_E2M1[usize::from(code)] * scale);
        });
    }
}

impl Encode for MXFP4 {
    const BATCH: usize = 32;

    #[inline(always)]
    fn encode(values: &[f32], block: &mut [u8]) {
        let largest = values.iter().fold(0.0, |m: f32, x| if m < x.abs() { x.abs() } else { m });
        block[0] = exponent(largest);
        let scale = half_of_power(block[0]);
        let mut codes = [0; 32];
        for (codes, values) in codes.as_chunks_mut().0.iter_mut().zip(values.as_chunks().0) {
            *codes = nearest_codes(Lanes(*values), scale);
        }
        pack_nibbles(&codes, &mut block[1..]);
    }
}

/// The exponent that makes the codes reach `largest`, as ggml finds it: from a logarithm in single precision, which
/// rounds numbers just below a power of two up to it.
fn exponent(largest: f32) -> u8 {
    match largest > 0.0 {
        true => ((f64::from(largest).log2() as f32).floor() + 125.0) as i32 as u8,
        false => 0,
    }
}

/// The codes of the nearest numbers, the smaller code on ties.
#[inline(always)]
fn nearest_codes(x: Lanes, scale: f32) -> [u8; 16] {
    let mut codes = Lanes::ZERO;
    let mut least = (Lanes::splat(TWICE_E2M1[0] * scale) - x).abs();
    for code in 1..16u8 {
        let error = (Lanes::splat(TWICE_E2M1[usize::from(code)] * scale) - x).abs();
        let better = least.greater(error);
        codes = Lanes::splat(code.into()).where_met(better, codes);
        least = error.where_met(better, least);
    }
    codes.to_bytes()
}

impl Quantize for MXFP4 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<MXFP4>(values, blocks);
    }
}

/// `2^(e - 128)`; the two smallest are subnormal.
fn half_of_power(e: u8) -> f32 {
    f32::from_bits(match e {
        0..2 => 0x0020_0000 << e,
        _ => u32::from(e - 1) << 23,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_is_a_power_of_two() {
        for e in 0..=u8::MAX {
            assert_eq!(f64::from(half_of_power(e)), 2f64.powi(i32::from(e) - 128), "{e}");
        }
    }
}
