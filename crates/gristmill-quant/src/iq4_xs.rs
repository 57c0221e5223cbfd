//! IQ4_XS: 256 elements in 136 bytes, 4.25 bits per weight.
//!
//! ```text
//! │ d: f16 │ scales_h: u16 │ scales_l: 4 bytes │ qs: 128 bytes │      x ≈ d · (scale - 32) · BOOK[code]
//! ```
//!
//! IQ4_NL with a 6-bit scale for each 32 elements: scale `b` has its low nibble in nibble `b` of `scales_l` and its
//! upper two bits in bits `2b`, `2b + 1` of `scales_h`.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, read_f16, write_f16};
use crate::codebook::{BOOK, codes, try_scales};
use crate::lanes::{Lanes, nearest, one_by_one, side_by_side};
use crate::level::{self, Encode};
use crate::pack::{pack_nibbles, unpack_nibbles};
use crate::{BlockFormat, Quantize};

/// 4-bit codes of an uneven codebook with a 6-bit scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct IQ4_XS;

impl BlockFormat for IQ4_XS {
    const DTYPE: DType = DType::IQ4_XS;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 136], values: &mut [f32; 256]| {
            let d = read_f16(block, 0);
            let scales_high = u16::from_le_bytes([block[2], block[3]]);
            let scales_low = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
            let groups = block[8..].as_chunks::<16>().0.iter().zip(values.as_chunks_mut::<32>().0);
            for (group, (nibbles, values)) in groups.enumerate() {
                let low = (scales_low >> (4 * group)) as u8 & 15;
                let high = (scales_high >> (2 * group)) as u8 & 3;
                let scale = d * (f32::from(low | (high << 4)) - 32.0);
                *values = unpack_nibbles(nibbles).map(|code| scale * BOOK[usize::from(code)]);
            }
        });
    }
}

impl Encode for IQ4_XS {
    const BATCH: usize = 512;

    /// The sixteen groups of two blocks are searched side by side.
    #[inline(always)]
    fn encode(values: &[f32], blocks: &mut [u8]) {
        let (blocks, _) = blocks.as_chunks_mut::<136>();
        let x = side_by_side(values);
        let fitted = try_scales(&x);
        let mut scale = Lanes::ZERO;
        for (number, block) in blocks.iter_mut().enumerate() {
            let lanes = 8 * number..8 * (number + 1);
            put_scales(&fitted.0[lanes.clone()], &mut scale.0[lanes], block);
        }
        let mut bytes = [0; 512];
        one_by_one(&codes(&x, scale), &mut bytes);
        for (codes, block) in bytes.as_chunks::<256>().0.iter().zip(blocks) {
            let nibbles = block[8..].as_chunks_mut::<16>().0.iter_mut();
            nibbles.zip(codes.as_chunks().0).for_each(|(bytes, codes)| pack_nibbles(codes, bytes));
        }
    }
}

/// Stores the scales of eight groups and gives those to make codes with, whose unit is not rounded yet.
#[inline(always)]
fn put_scales(fitted: &[f32], scales: &mut [f32], block: &mut [u8; 136]) {
    let largest = fitted.iter().fold(0.0, |m: f32, &x| if x.abs() > m.abs() { x } else { m });
    let d = -largest / 32.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let (mut low, mut high) = (0u32, 0u16);
    for (group, (fitted, scale)) in fitted.iter().zip(scales).enumerate() {
        let code = nearest(inverse * fitted).clamp(-32, 31);
        low |= ((code + 32) as u32 & 15) << (4 * group);
        high |= (((code + 32) >> 4) as u16 & 3) << (2 * group);
        *scale = d * code as f32;
    }
    write_f16(block, 0, d);
    block[2..4].copy_from_slice(&high.to_le_bytes());
    block[4..8].copy_from_slice(&low.to_le_bytes());
}

impl Quantize for IQ4_XS {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<IQ4_XS>(values, blocks);
    }
}
