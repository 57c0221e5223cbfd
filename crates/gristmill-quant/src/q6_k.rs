//! Q6_K: 256 elements in 210 bytes, 6.5625 bits per weight.
//!
//! ```text
//! │ ql: 128 bytes, low nibbles │ qh: 64 bytes, high 2 bits │ scales: 16 signed bytes │ d: f16 │
//!                                                               x ≈ d · scale · (code - 32)
//! ```
//!
//! Every 16 elements share a scale. Each half of the block is four quarters of 32 elements over 64 bytes of `ql` and
//! 32 of `qh`: quarter `k` has the low (`k < 2`) or high nibbles of bytes `32(k % 2) ..` and bits `2k`, `2k + 1` of
//! `qh`.

use gristmill_tensor::DType;

use crate::BlockFormat;
use crate::block::{decode_blocks, read_f16};

/// 6-bit codes around zero with an 8-bit scale per 16.
#[allow(non_camel_case_types)] // spelled as in the type table
pub struct Q6_K;

impl BlockFormat for Q6_K {
    const DTYPE: DType = DType::Q6_K;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        decode_blocks(blocks, values, |block: &[u8; 210], values: &mut [f32; 256]| {
            let (ql, qh) = (block[..128].as_chunks::<32>().0, block[128..192].as_chunks::<32>().0);
            let (scales, d) = (&block[192..208], read_f16(block, 208));
            for (quarter, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (half, k) = (quarter / 4, quarter % 4);
                let scales =
                    [2 * quarter, 2 * quarter + 1].map(|group| d * f32::from(scales[group] as i8));
                for i in 0..32 {
                    let low = (ql[2 * half + k % 2][i] >> (4 * (k / 2))) & 15;
                    let high = (qh[half][i] >> (2 * k)) & 3;
                    values[i] = scales[i / 16] * (f32::from(low | (high << 4)) - 32.0);
                }
            }
        });
    }
}
