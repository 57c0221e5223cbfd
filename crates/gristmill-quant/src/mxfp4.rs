//! MXFP4: 32 elements in 17 bytes, 4.25 bits per weight; the OCP microscaling format of GPT-OSS.
//!
//! ```text
//! │ e: u8, a power of two │ qs: 16 bytes, nibbles as in Q4_0 │      x ≈ 2^(e - 128) · TWICE_E2M1[code]
//! ```
//!
//! Codes are 4-bit floats: a sign, two bits of exponent, one of mantissa. The table holds twice their value, to keep
//! it whole, and the scale half of it.

use gristmill_tensor::DType;

use crate::BlockFormat;
use crate::block::decode_blocks;
use crate::pack::unpack_nibbles;

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
