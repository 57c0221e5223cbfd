//! Q4_K: 256 elements in 144 bytes, 4.5 bits per weight.
//!
//! ```text
//! │ d: f16 │ dmin: f16 │ scales: 12 bytes, 8 × (6-bit scale, 6-bit min) │ qs: 128 bytes │
//!                                                               x ≈ d · scale · code - dmin · min
//! ```
//!
//! Every 32 elements share a scale and a minimum. Each 64 elements take 32 bytes: the first 32 the low nibbles, the
//! others the high ones.

use gristmill_tensor::DType;

use crate::affine::Affine;
use crate::block::{decode_blocks, read_f16};
use crate::level::{self, Encode};
use crate::pack::{pack_nibbles_in_pairs, unpack_scales_and_mins};
use crate::{BlockFormat, Quantize, six_bit};

/// 4-bit codes with a 6-bit scale and minimum per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q4_K;

impl BlockFormat for Q4_K {
    const DTYPE: DType = DType::Q4_K;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 144], values: &mut [f32; 256]| {
            let (d, dmin) = (read_f16(block, 0), read_f16(block, 2));
            let (scales, mins) = unpack_scales_and_mins(&block[4..16]);
            let qs = block[16..].as_chunks::<32>().0;
            for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let scale = d * f32::from(scales[group]);
                let min = dmin * f32::from(mins[group]);
                let shift = 4 * (group % 2);
                *values = qs[group / 2].map(|byte| scale * f32::from((byte >> shift) & 15) - min);
            }
        });
    }
}

const SEARCH: Affine = Affine { highest: 15, first: -1.0, last: 20, squared: true };

impl Encode for Q4_K {
    const BATCH: usize = 512;

    #[inline(always)]
    fn encode(values: &[f32], blocks: &mut [u8]) {
        six_bit::encode::<144>(&SEARCH, values, blocks, pack_nibbles_in_pairs);
    }
}

impl Quantize for Q4_K {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<Q4_K>(values, blocks);
    }
}
