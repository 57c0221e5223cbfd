//! Q8_0: 32 elements in 34 bytes, 8.5 bits per weight.
//!
//! ```text
//! │ d: f16 │ qs: 32 signed bytes │      x ≈ code · d
//! ```
//!
//! `d` is a 127th of the largest magnitude. Codes are `x/d`, rounded to nearest with halves away from zero.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, encode_blocks, read_f16, write_f16};
use crate::scale::{half_away, symmetric_scale, truncate};
use crate::{BlockFormat, Quantize};

/// 8-bit codes with one scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q8_0;

impl BlockFormat for Q8_0 {
    const DTYPE: DType = DType::Q8_0;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 34], values: &mut [f32; 32]| {
            let d = read_f16(block, 0);
            for (value, &code) in values.iter_mut().zip(&block[2..]) {
                *value = f32::from(code as i8) * d;
            }
        });
    }
}

impl Quantize for Q8_0 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 32], block: &mut [u8; 34]| {
            let (d, id) = symmetric_scale(values, 127.0);
            let codes = truncate(values, |x| half_away(x * id));
            write_f16(block, 0, d);
            block[2..].copy_from_slice(&codes);
        });
    }
}
