//! Q2_K: 256 elements in 84 bytes, 2.625 bits per weight.
//!
//! ```text
//! │ scales: 16 bytes, scale | min << 4 │ qs: 64 bytes, 2 bits per code │ d: f16 │ dmin: f16 │
//!                                                               x ≈ d · scale · code - dmin · min
//! ```
//!
//! Every 16 elements share a scale and a minimum. Codes lie as in Q3_K: each half of the block owns 32 bytes, and its
//! elements `32k ..` are bits `2k` and `2k + 1` of these bytes.

use gristmill_tensor::DType;

use crate::BlockFormat;
use crate::block::{decode_blocks, read_f16};
use crate::pack::unpack_two_bits;

/// 2-bit codes with a 4-bit scale and minimum per 16.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q2_K;

impl BlockFormat for Q2_K {
    const DTYPE: DType = DType::Q2_K;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 84], values: &mut [f32; 256]| {
            let (d, dmin) = (read_f16(block, 80), read_f16(block, 82));
            let codes = unpack_two_bits(&block[16..80]);
            for group in 0..16 {
                let scale = d * f32::from(block[group] & 15);
                let min = dmin * f32::from(block[group] >> 4);
                for e in 16 * group..16 * (group + 1) {
                    values[e] = scale * f32::from(codes[e]) - min;
                }
            }
        });
    }
}
