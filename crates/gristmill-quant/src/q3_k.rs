//! Q3_K: 256 elements in 110 bytes, 3.4375 bits per weight.
//!
//! ```text
//! │ hmask: 32 bytes │ qs: 64 bytes, low 2 bits of codes │ scales: 12 bytes, 16 × 6 bits │ d: f16 │
//!                                                               x ≈ d · (scale - 32) · (code - 4)
//! ```
//!
//! Every 16 elements share a scale. Bit 2 of the code of element `e` is bit `e / 32` of `hmask[e % 32]`. Scale `g` has
//! its low nibble in byte `g % 8` and its upper two bits in bits `2(g / 4)` of byte `8 + g % 4`.

use gristmill_tensor::DType;

use crate::BlockFormat;
use crate::block::{decode_blocks, read_f16};
use crate::pack::unpack_two_bits;

/// 3-bit codes around zero with a 6-bit scale per 16.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q3_K;

impl BlockFormat for Q3_K {
    const DTYPE: DType = DType::Q3_K;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 110], values: &mut [f32; 256]| {
            let (hmask, scales) = (&block[..32], &block[96..108]);
            let d = read_f16(block, 108);
            let low_bits = unpack_two_bits(&block[32..96]);
            for group in 0..16 {
                let low = (scales[group % 8] >> (4 * (group / 8))) & 15;
                let high = (scales[8 + group % 4] >> (2 * (group / 4))) & 3;
                let scale = d * (f32::from(low | (high << 4)) - 32.0);
                for e in 16 * group..16 * (group + 1) {
                    let code = low_bits[e] | (((hmask[e % 32] >> (e / 32)) & 1) << 2);
                    values[e] = scale * (f32::from(code) - 4.0);
                }
            }
        });
    }
}
