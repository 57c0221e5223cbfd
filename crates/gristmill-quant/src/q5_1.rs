//! Q5_1: 32 elements in 24 bytes, 6 bits per weight.
//!
//! ```text
//! │ d: f16 │ m: f16 │ qh: u32, bit i = bit 4 of code[i] │ qs: 16 bytes, low nibbles as in Q4_0 │      x ≈ code · d + m
//! ```
//!
//! `m` is the smallest element and `d` a 31st of the range. Codes are `trunc((x - m)/d + 0.5)`.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, encode_blocks, read_f16, write_f16};
use crate::pack::{pack_fifth_bits, pack_nibbles, unpack_five_bits};
use crate::scale::{affine_scale, truncate};
use crate::{BlockFormat, Quantize};

/// 5-bit codes above a minimum, with one scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q5_1;

impl BlockFormat for Q5_1 {
    const DTYPE: DType = DType::Q5_1;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 24], values: &mut [f32; 32]| {
            let (d, m) = (read_f16(block, 0), read_f16(block, 2));
            let codes = unpack_five_bits(&block[4..8], &block[8..]);
            *values = codes.map(|code| f32::from(code) * d + m);
        });
    }
}

impl Quantize for Q5_1 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 32], block: &mut [u8; 24]| {
            let (d, m, id) = affine_scale(values, 31.0);
            let codes = truncate(values, |x| (x - m) * id + 0.5);
            write_f16(block, 0, d);
            write_f16(block, 2, m);
            block[4..8].copy_from_slice(&pack_fifth_bits(&codes));
            pack_nibbles(&codes, &mut block[8..]);
        });
    }
}
