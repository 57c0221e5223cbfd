//! IQ4_NL: 32 elements in 18 bytes, 4.5 bits per weight.
//!
//! ```text
//! │ d: f16 │ qs: 16 bytes, nibbles as in Q4_0 │      x ≈ d · BOOK[code]
//! ```
//!
//! The codes are not evenly spaced: the codebook is denser around zero, where most weights are.

use gristmill_tensor::DType;

use crate::block::{decode_blocks, read_f16, write_f16};
use crate::codebook::{BOOK, codes, try_scales};
use crate::lanes::{LANES, one_by_one, side_by_side};
use crate::level::{self, Encode};
use crate::pack::{pack_nibbles, unpack_nibbles};
use crate::{BlockFormat, Quantize};

/// 4-bit codes of an uneven codebook with one scale per 32.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct IQ4_NL;

impl BlockFormat for IQ4_NL {
    const DTYPE: DType = DType::IQ4_NL;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 18], values: &mut [f32; 32]| {
            let d = read_f16(block, 0);
            let codes = unpack_nibbles(&block[2..]);
            *values = codes.map(|code| d * BOOK[usize::from(code)]);
        });
    }
}

impl Encode for IQ4_NL {
    const BATCH: usize = 32 * LANES;

    /// Sixteen blocks are searched side by side.
    #[inline(always)]
    fn encode(values: &[f32], blocks: &mut [u8]) {
        let x = side_by_side(values);
        let scale = try_scales(&x);
        let mut bytes = [0; 32 * LANES];
        one_by_one(&codes(&x, scale), &mut bytes);
        let blocks = blocks.as_chunks_mut::<18>().0.iter_mut();
        for ((block, scale), codes) in blocks.zip(scale.0).zip(bytes.as_chunks::<32>().0) {
            write_f16(block, 0, scale);
            pack_nibbles(codes, &mut block[2..]);
        }
    }
}

impl Quantize for IQ4_NL {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<IQ4_NL>(values, blocks);
    }
}
