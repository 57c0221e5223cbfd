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

use crate::affine::Affine;
use crate::block::{decode_blocks, read_f16, write_f16};
use crate::lanes::{Groups, Lanes, map, nearest, one_by_one, side_by_side};
use crate::level::{self, Encode};
use crate::pack::{pack_two_bits, unpack_two_bits};
use crate::{BlockFormat, Quantize};

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

const SEARCH: Affine = Affine { highest: 3, first: -0.5, last: 15, squared: false };

impl Encode for Q2_K {
    const BATCH: usize = 256;

    #[inline(always)]
    fn encode(values: &[f32], block: &mut [u8]) {
        let x: Groups<16> = side_by_side(values);
        let fit = SEARCH.fit(&x, &map(&x, Lanes::abs));
        let (d, scales) = four_bits(&fit.scale, &mut block[80..82]);
        let (dmin, mins) = four_bits(&fit.min, &mut block[82..84]);
        for group in 0..16 {
            block[group] = scales[group] as u8 | (mins[group] << 4) as u8;
        }

        let stored = |d: f32, shift: u8| {
            Lanes(std::array::from_fn(|group| d * f32::from((block[group] >> shift) & 15)))
        };
        let codes = SEARCH.recode(&x, stored(d, 0), stored(dmin, 4), &fit);
        let mut bytes = [0; 256];
        one_by_one(&codes, &mut bytes);
        pack_two_bits(&bytes, &mut block[16..80]);
    }
}

/// Stores the unit of sixteen numbers as an `f16`; gives it as stored, and the numbers in units of what it was before.
#[inline(always)]
fn four_bits(numbers: &Lanes, stored: &mut [u8]) -> (f32, [i32; 16]) {
    let largest = numbers.0.iter().fold(0.0, |largest, &x| if x > largest { x } else { largest });
    let inverse = if largest > 0.0 { 15.0 / largest } else { 0.0 };
    write_f16(stored, 0, largest / 15.0);
    (read_f16(stored, 0), numbers.0.map(|x| nearest(inverse * x)))
}

impl Quantize for Q2_K {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        level::encode::<Q2_K>(values, blocks);
    }
}
