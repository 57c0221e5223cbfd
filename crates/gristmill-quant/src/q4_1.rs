//! Q4_1: 32 elements in 20 bytes, 5 bits per weight.
//!
//! ```text
//! │ d: f16 │ m: f16 │ qs: 16 bytes, byte j = code[j] | code[j+16] << 4 │      x ≈ code · d + m
//! ```
//!
//! `m` is the smallest element and `d` a 15th of the range. Codes are `trunc((x - m)/d + 0.5)`.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, encode_blocks, read_f16, write_f16};
use crate::pack::{pack_nibbles, unpack_nibbles};
use crate::scale::{affine_scale, truncate};
use crate::{BlockFormat, Quantize};

/// 4-bit codes above a minimum, with one scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q4_1;

impl BlockFormat for Q4_1 {
    const DTYPE: DType = DType::Q4_1;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 20], values: &mut [f32; 32]| {
            let (d, m) = (read_f16(block, 0), read_f16(block, 2));
            let codes = unpack_nibbles(&block[4..]);
            *values = codes.map(|code| f32::from(code) * d + m);
        });
    }
}

impl Quantize for Q4_1 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 32], block: &mut [u8; 20]| {
            let (d, m, id) = affine_scale(values, 15.0);
            let codes = truncate(values, |x| (x - m) * id + 0.5).map(|code| code.min(15));
            write_f16(block, 0, d);
            write_f16(block, 2, m);
            pack_nibbles(&codes, &mut block[4..]);
        });
    }
}
