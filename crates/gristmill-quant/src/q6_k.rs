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

use crate::block::{decode_blocks, read_f16, write_f16};
use crate::lanes::{Groups, Lanes, nearest, one_by_one, side_by_side};
use crate::level::{self, Encode};
use crate::signed::{TINY, try_scales};
use crate::{BlockFormat, Quantize};

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

impl Encode for Q6_K {
    const BATCH: usize = 256;

    #[inline(always)]
    fn encode(values: &[f32], block: &mut [u8]) {
        let x: Groups<16> = side_by_side(values);
        let fit = try_scales(&x, 32);
        let largest = fit.scale.largest();
        if largest.abs() < TINY {
            block.fill(0);
            return;
        }
        let inverse = -128.0 / largest;
        write_f16(block, 208, 1.0 / inverse);
        let d = read_f16(block, 208);
        let scales = fit.scale.0.map(|scale| nearest(inverse * scale).min(127) as i8);
        block[192..208].copy_from_slice(&scales.map(|scale| scale as u8));

        let scale = Lanes(scales.map(|scale| d * f32::from(scale)));
        let mut codes = [0; 256];
        one_by_one(&fit.recode(&x, 32, scale), &mut codes);
        pack(&codes, block);
    }
}

#[inline(always)]
fn pack(codes: &[u8; 256], block: &mut [u8]) {
    let (ql, qh) = block[..192].split_at_mut(128);
    for (half, codes) in codes.as_chunks::<128>().0.iter().enumerate() {
        let codes = codes.as_chunks::<32>().0;
        let (ql, qh) = (&mut ql[64 * half..][..64], &mut qh[32 * half..][..32]);
        for i in 0..32 {
            ql[i] = (codes[0][i] & 15) | (codes[2][i] << 4);
            ql[i + 32] = (codes[1][i] & 15) | (codes[3][i] << 4);
            let high = |k: usize| (codes[k][i] >> 4) << (2 * k);
            qh[i] = high(0) | high(1) | high(2) | high(3);
        }
    }
}

impl Quantize for Q6_K {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<Q6_K>(values, blocks);
    }
}
