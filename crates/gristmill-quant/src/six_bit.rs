//! What Q4_K and Q5_K share: groups of 32 elements, each with a 6-bit scale and a 6-bit minimum.

use crate::affine::Affine;
use crate::block::{read_f16, write_f16};
use crate::lanes::{Groups, Lanes, map, nearest, one_by_one, side_by_side};
use crate::pack::pack_scales_and_mins;

/// Encodes two blocks, whose sixteen groups are searched side by side, or only one. `pack` puts the 256 codes of a
/// block into the bytes that follow the scales.
#[inline(always)]
pub(crate) fn encode<const BYTES: usize>(
    search: &Affine,
    values: &[f32],
    blocks: &mut [u8],
    pack: impl Fn(&[u8; 256], &mut [u8]),
) {
    let x: Groups<32> = side_by_side(values);
    let fit = search.fit(&x, &weights(&x));

    let (mut scale, mut min) = (Lanes::ZERO, Lanes::ZERO);
    let (blocks, _) = blocks.as_chunks_mut::<BYTES>();
    for (number, block) in blocks.iter_mut().enumerate() {
        let lanes = 8 * number..8 * (number + 1);
        let (d, scales) = six_bits(&fit.scale.0[lanes.clone()], &mut block[..2]);
        let (dmin, mins) = six_bits(&fit.min.0[lanes.clone()], &mut block[2..4]);
        pack_scales_and_mins(&scales, &mins, &mut block[4..16]);
        for (group, lane) in lanes.enumerate() {
            scale.0[lane] = d * f32::from(scales[group]);
            min.0[lane] = dmin * f32::from(mins[group]);
        }
    }

    let mut codes = [0; 512];
    one_by_one(&search.recode(&x, scale, min, &fit), &mut codes);
    for (codes, block) in codes.as_chunks::<256>().0.iter().zip(blocks) {
        pack(codes, &mut block[16..]);
    }
}

/// How much the error of each element counts: the more, the larger it is.
#[inline(always)]
fn weights(x: &Groups<32>) -> Groups<32> {
    let mut squares = Lanes::ZERO;
    for x in x {
        squares = squares + *x * *x;
    }
    let mean = (squares / Lanes::splat(32.0)).map(f32::sqrt);
    map(x, |x| mean + x.abs())
}

/// Stores the unit of eight numbers as an `f16`; gives it as stored, and the numbers in units of what it was before.
#[inline(always)]
fn six_bits(numbers: &[f32], stored: &mut [u8]) -> (f32, [u8; 8]) {
    let largest = numbers.iter().fold(0.0, |largest, &x| if x > largest { x } else { largest });
    let inverse = if largest > 0.0 { 63.0 / largest } else { 0.0 };
    write_f16(stored, 0, largest / 63.0);
    (read_f16(stored, 0), std::array::from_fn(|i| (nearest(inverse * numbers[i]) as u8).min(63)))
}
