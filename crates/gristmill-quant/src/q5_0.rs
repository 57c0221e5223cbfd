//! Q5_0: 32 elements in 22 bytes, 5.5 bits per weight.
//!
//! ```text
//! │ d: f16 │ qh: u32, bit i = bit 4 of code[i] │ qs: 16 bytes, low nibbles as in Q4_0 │      x ≈ (code - 16) · d
//! ```
//!
//! `d = m / -16`, where `m` is the element of largest magnitude with its sign. Codes are `trunc(x/d + 16.5)`, at most
//! 31.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, encode_blocks, read_f16, write_f16};
use crate::pack::{pack_fifth_bits, pack_nibbles, unpack_five_bits};
use crate::scale::{signed_scale, truncate};
use crate::{BlockFormat, Quantize};

/// 5-bit codes around zero with one scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q5_0;

impl BlockFormat for Q5_0 {
    const DTYPE: DType = DType::Q5_0;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 22], values: &mut [f32; 32]| {
            let d = read_f16(block, 0);
            let codes = unpack_five_bits(&block[2..6], &block[6..]);
            *values = codes.map(|code| (f32::from(code) - 16.0) * d);
        });
    }
}

impl Quantize for Q5_0 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 32], block: &mut [u8; 22]| {
            let (d, id) = signed_scale(values, -16.0);
            let codes = truncate(values, |x| x * id + 16.5).map(|code| code.min(31));
            write_f16(block, 0, d);
            block[2..6].copy_from_slice(&pack_fifth_bits(&codes));
            pack_nibbles(&codes, &mut block[6..]);
        });
    }
}
