//! Q5_K: 256 elements in 176 bytes, 5.5 bits per weight.
//!
//! ```text
//! │ d: f16 │ dmin: f16 │ scales: 12 bytes, 8 × (6-bit scale, 6-bit min) │ qh: 32 bytes │ qs: 128 bytes │
//!                                                               x ≈ d · scale · code - dmin · min
//! ```
//!
//! Q4_K with a fifth bit: that of element `e` is bit `e / 32` of `qh[e % 32]`.

use gristmill_tensor::DType;

use crate::affine::Affine;
use crate::block::{decode_blocks, read_f16};
use crate::level::{self, Encode};
use crate::pack::{pack_high_bits, pack_nibbles_in_pairs, unpack_scales_and_mins};
use crate::{BlockFormat, Quantize, six_bit};

/// 5-bit codes with a 6-bit scale and minimum per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q5_K;

impl BlockFormat for Q5_K {
    const DTYPE: DType = DType::Q5_K;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 176], values: &mut [f32; 256]| {
            let (d, dmin) = (read_f16(block, 0), read_f16(block, 2));
            let (scales, mins) = unpack_scales_and_mins(&block[4..16]);
            let (qh, qs) = (&block[16..48], block[48..].as_chunks::<32>().0);
            for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let scale = d * f32::from(scales[group]);
                let min = dmin * f32::from(mins[group]);
                for i in 0..32 {
                    let nibble = (qs[group / 2][i] >> (4 * (group % 2))) & 15;
                    let code = nibble | (((qh[i] >> group) & 1) << 4);
                    values[i] = scale * f32::from(code) - min;
                }
            }
        });
    }
}

const SEARCH: Affine = Affine { highest: 31, first: -0.5, last: 15, squared: true };

impl Encode for Q5_K {
    const BATCH: usize = 512;

    #[inline(always)]
    fn encode(values: &[f32], blocks: &mut [u8]) {
        six_bit::encode::<176>(&SEARCH, values, blocks, |codes, bytes| {
            let (qh, qs) = bytes.split_at_mut(32);
            pack_high_bits(codes, 4, qh);
            pack_nibbles_in_pairs(codes, qs);
        });
    }
}

impl Quantize for Q5_K {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<Q5_K>(values, blocks);
    }
}
