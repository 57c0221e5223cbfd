//! IQ4_NL: 32 elements in 18 bytes, 4.5 bits per weight.
//!
//! ```text
//! │ d: f16 │ qs: 16 bytes, nibbles as in Q4_0 │      x ≈ d · CODEBOOK[code]
//! ```
//!
//! The codes are not evenly spaced: the codebook is denser around zero, where most weights are.

use gristmill_tensor::DType;

use crate::BlockFormat;
use crate::block::{decode_blocks, read_f16};
use crate::pack::unpack_nibbles;

/// What the 16 codes stand for, in units of the scale.
pub(crate) const CODEBOOK: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// 4-bit codes of an uneven codebook with one scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct IQ4_NL;

impl BlockFormat for IQ4_NL {
    const DTYPE: DType = DType::IQ4_NL;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 18], values: &mut [f32; 32]| {
            let d = read_f16(block, 0);
            let codes = unpack_nibbles(&block[2..]);
            *values = codes.map(|code| d * CODEBOOK[usize::from(code)]);
        });
    }
}
