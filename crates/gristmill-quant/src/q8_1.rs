//! Q8_1: 32 elements in 36 bytes; ggml's form of activations beside the formats with a minimum, never a weight.
//!
//! ```text
//! │ d: f16 │ s: f16 │ qs: 32 signed bytes │      x ≈ code · d
//! ```
//!
//! Codes are those of Q8_0; `s = d · Σ code` saves the sum in products with Q4_1 and Q5_1 rows.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, encode_blocks, read_f16, write_f16};
use crate::scale::{half_away, symmetric_scale, truncate};
use crate::{BlockFormat, Quantize};

/// 8-bit codes with one scale and the sum per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q8_1;

impl BlockFormat for Q8_1 {
    const DTYPE: DType = DType::Q8_1;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 36], values: &mut [f32; 32]| {
            let d = read_f16(block, 0);
            for (value, &code) in values.iter_mut().zip(&block[4..]) {
                *value = f32::from(code as i8) * d;
            }
        });
    }
}

impl Quantize for Q8_1 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 32], block: &mut [u8; 36]| {
            let (d, id) = symmetric_scale(values, 127.0);
            let codes = truncate(values, |x| half_away(x * id));
            let sum: i16 = codes.iter().map(|&code| i16::from(code as i8)).sum();
            write_f16(block, 0, d);
            write_f16(block, 2, f32::from(sum) * d);
            block[4..].copy_from_slice(&codes);
        });
    }
}
