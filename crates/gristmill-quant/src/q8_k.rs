//! Q8_K: 256 elements in 292 bytes; ggml's form of activations beside the 256-element formats, never a weight.
//!
//! ```text
//! │ d: f32 │ qs: 256 signed bytes │ bsums: 16 × i16, the sum of each 16 codes │      x ≈ d · code
//! ```

use gristmill_tensor::DType;

use crate::BlockFormat;
use crate::block::decode_blocks;

/// 8-bit codes with one scale per 256.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q8_K;

impl BlockFormat for Q8_K {
    const DTYPE: DType = DType::Q8_K;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 292], values: &mut [f32; 256]| {
            let d = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
            for (value, &code) in values.iter_mut().zip(&block[4..260]) {
                *value = d * f32::from(code as i8);
            }
        });
    }
}
