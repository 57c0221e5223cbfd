//! IQ4_XS: 256 elements in 136 bytes, 4.25 bits per weight.
//!
//! ```text
//! │ d: f16 │ scales_h: u16 │ scales_l: 4 bytes │ qs: 128 bytes │      x ≈ d · (scale - 32) · CODEBOOK[code]
//! ```
//!
//! IQ4_NL with a 6-bit scale for each 32 elements: scale `b` has its low nibble in nibble `b` of `scales_l` and its
//! upper two bits in bits `2b`, `2b + 1` of `scales_h`.

use gristmill_tensor::DType;

use crate::BlockFormat;
use crate::block::{decode_blocks, read_f16};
use crate::iq4_nl::CODEBOOK;
use crate::pack::unpack_nibbles;

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
                *values = unpack_nibbles(nibbles).map(|code| scale * CODEBOOK[usize::from(code)]);
            }
        });
    }
}
