//! Q4_2 and Q4_3: blocks of 16 elements, in files of April and May 2023.
//!
//! ```text
//! Q4_2  │ d: f16 │ qs: 8 bytes, byte j = code[2j] | code[2j+1] << 4 │              x ≈ (code - 8) · d
//! Q4_3  │ d: f16 │ m: f16 │ qs: 8 bytes, likewise │                                x ≈ code · d + m
//! ```
//!
//! They spend on scales what today's formats spend on fifth bits. None of today's formats has their codes: two blocks
//! would have to share a scale.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, encode_blocks, read_f16, write_f16};
use crate::{BlockFormat, Quantize};

/// 4-bit codes around zero with one scale per 16.
#[allow(non_camel_case_types)] // spelled as in the type table
pub(crate) struct Q4_2;

/// 4-bit codes above a minimum, with one scale per 16.
#[allow(non_camel_case_types)] // spelled as in the type table
pub(crate) struct Q4_3;

impl BlockFormat for Q4_2 {
    const DTYPE: DType = DType::Q4_2;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 10], values: &mut [f32; 16]| {
            let d = read_f16(block, 0);
            *values = unpack(&block[2..]).map(|code| (f32::from(code) - 8.0) * d);
        });
    }
}

impl Quantize for Q4_2 {
    /// The element of largest magnitude gets code 0, as in Q4_0: the rule of May 2023. The tools of April searched for
    /// the scale of least error.
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 16], block: &mut [u8; 10]| {
            let largest = values.iter().fold(0.0f32, |m, &x| if x.abs() > m.abs() { x } else { m });
            let d = largest / -8.0;
            let id = if d == 0.0 { 0.0 } else { 1.0 / d };
            write_f16(block, 0, d);
            pack(values.map(|x| (x * id + 8.5).min(15.0) as u8), &mut block[2..]);
        });
    }
}

impl BlockFormat for Q4_3 {
    const DTYPE: DType = DType::Q4_3;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 12], values: &mut [f32; 16]| {
            let (d, m) = (read_f16(block, 0), read_f16(block, 2));
            *values = unpack(&block[4..]).map(|code| f32::from(code) * d + m);
        });
    }
}

impl Quantize for Q4_3 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |values: &[f32; 16], block: &mut [u8; 12]| {
            let min = values.iter().copied().fold(f32::INFINITY, f32::min);
            let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let d = (max - min) / 15.0;
            let id = if d == 0.0 { 0.0 } else { 1.0 / d };
            write_f16(block, 0, d);
            write_f16(block, 2, min);
            pack(values.map(|x| ((x - min) * id + 0.5).min(15.0) as u8), &mut block[4..]);
        });
    }
}

fn unpack(bytes: &[u8]) -> [u8; 16] {
    std::array::from_fn(|i| (bytes[i / 2] >> (4 * (i % 2))) & 15)
}

fn pack(codes: [u8; 16], bytes: &mut [u8]) {
    for (byte, pair) in bytes.iter_mut().zip(codes.as_chunks::<2>().0) {
        *byte = pair[0] | (pair[1] << 4);
    }
}
