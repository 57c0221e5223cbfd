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

use crate::block::{decode_blocks, read_f16, write_f16};
use crate::lanes::{Groups, Lanes, nearest, one_by_one, side_by_side};
use crate::level::{self, Encode};
use crate::pack::{pack_high_bits, pack_two_bits, unpack_two_bits};
use crate::signed::{SignedFit, improve_codes};
use crate::{BlockFormat, Quantize};

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

impl Encode for Q3_K {
    const BATCH: usize = 512;

    #[inline(always)]
    fn encode(values: &[f32], blocks: &mut [u8]) {
        let (first, second) = values.split_at(256);
        let x: [Groups<16>; 2] = [side_by_side(first), side_by_side(second)];
        let fits = improve_codes(&x, 4);
        let (blocks, _) = blocks.as_chunks_mut::<110>();
        for (number, block) in blocks.iter_mut().enumerate() {
            put(&x[number], &fits[number], block);
        }
    }
}

/// Stores a block that was fitted.
#[inline(always)]
fn put(x: &Groups<16>, fit: &SignedFit<16>, block: &mut [u8; 110]) {
    let largest = fit.scale.largest();
    let inverse = -32.0 / largest;
    let (scales, unit) = if largest == 0.0 {
        ([-32; 16], 0.0)
    } else {
        (fit.scale.0.map(|scale| (nearest(inverse * scale) as i8).clamp(-32, 31)), 1.0 / inverse)
    };
    write_f16(block, 108, unit);
    pack_scales(scales.map(|scale| (scale + 32) as u8), &mut block[96..108]);

    let d = read_f16(block, 108);
    let scale = Lanes(scales.map(|scale| d * f32::from(scale)));
    let mut codes = [0; 256];
    one_by_one(&fit.recode(x, 4, scale), &mut codes);
    pack_high_bits(&codes, 2, &mut block[..32]);
    pack_two_bits(&codes, &mut block[32..96]);
}

#[inline(always)]
fn pack_scales(scales: [u8; 16], bytes: &mut [u8]) {
    for i in 0..8 {
        bytes[i] = (scales[i] & 15) | (scales[i + 8] << 4);
    }
    for i in 0..4 {
        let high = |k: usize| (scales[4 * k + i] >> 4) << (2 * k);
        bytes[8 + i] = high(0) | high(1) | high(2) | high(3);
    }
}

impl Quantize for Q3_K {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<Q3_K>(values, blocks);
    }
}
