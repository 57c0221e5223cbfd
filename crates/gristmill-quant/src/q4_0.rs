//! Q4_0: 32 elements in 18 bytes, 4.5 bits per weight.
//!
//! ```text
//! │ d: f16 │ qs: 16 bytes, byte j = code[j] | code[j+16] << 4 │      x ≈ (code - 8) · d
//! ```
//!
//! `d = m / -8`, where `m` is the element of largest magnitude with its sign: it gets code 0, and an opposite element
//! of nearly the same size is clamped to code 15, that is 7/8 of it. Codes are `trunc(x/d + 8.5)`.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, encode_blocks, read_f16, write_f16};
use crate::pack::{pack_nibbles, unpack_nibbles};
use crate::scale::{signed_scale, truncate};
use crate::{BlockFormat, Quantize};

/// 4-bit codes around zero with one scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q4_0;

impl BlockFormat for Q4_0 {
    const DTYPE: DType = DType::Q4_0;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 18], values: &mut [f32; 32]| {
            let d = read_f16(block, 0);
            let codes = unpack_nibbles(&block[2..]);
            *values = codes.map(|code| (f32::from(code) - 8.0) * d);
        });
    }
}

impl Quantize for Q4_0 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 32], block: &mut [u8; 18]| {
            let (d, id) = signed_scale(values, -8.0);
            let codes = truncate(values, |x| x * id + 8.5).map(|code| code.min(15));
            write_f16(block, 0, d);
            pack_nibbles(&codes, &mut block[2..]);
        });
    }
}
