//! The forms of sixteen bits per element in which 16-bit weights take activations.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::activations::{BLOCK, scale_and_inverse};

/// A block of one token in fourteen bits per element.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct WideColumn {
    /// Two elements each, the first in the low half.
    pub pairs: [i32; BLOCK / 2],
    pub d: f32,
}

/// The largest of the integers of [`WideColumn`]: 32 products of two such fit 32 bits.
pub(crate) const WIDEST: f32 = 8191.0;

impl WideColumn {
    /// A block, or what is left of one at the end of a row.
    pub(crate) fn of(x: &[f32]) -> WideColumn {
        let amax = x.iter().fold(0, |max, value| max.max(value.to_bits() & 0x7fff_ffff));
        let (d, inverse) = scale_and_inverse(amax, WIDEST);
        let mut codes = [0; BLOCK];
        if inverse > 0.0 {
            for (code, &x) in codes.iter_mut().zip(x) {
                *code = nearest(x * inverse);
            }
        }
        let pair = |i: usize| (codes[2 * i] & 0xffff) | codes[2 * i + 1] << 16;
        WideColumn { pairs: std::array::from_fn(pair), d }
    }
}

/// A block of one token in 16-bit floats.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct PairColumn(
    /// Two elements each, the first in the low half.
    pub [i32; BLOCK / 2],
);

impl PairColumn {
    /// The bits of a block, or of what is left of one at the end of a row.
    fn of(bits: impl Iterator<Item = u16>) -> PairColumn {
        let mut block = [0; BLOCK];
        block.iter_mut().zip(bits).for_each(|(to, bits)| *to = u32::from(bits));
        PairColumn(std::array::from_fn(|i| (block[2 * i] | block[2 * i + 1] << 16) as i32))
    }

    /// A block, or what is left of one, in BF16.
    pub(crate) fn bf16(x: &[f32]) -> PairColumn {
        PairColumn::of(x.iter().map(|x| nearest_bf16(x.to_bits()) as u16))
    }

    /// The blocks of a row in F16, and what they are to be multiplied with: a power of two, chosen so that the largest
    /// elements neither overflow nor come near it.
    pub(crate) fn f16_row(x: &[f32], blocks: &mut [PairColumn]) -> f32 {
        /// The exponent that the largest element gets.
        const LARGEST: i32 = 14;
        let amax = x.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff));
        let exponent = (amax >> 23) as i32 - 127;
        let shift = (LARGEST - exponent).clamp(-100, 100);
        let power = |shift: i32| f32::from_bits(((127 + shift) as u32) << 23);
        let up = power(shift);
        for (to, x) in blocks.iter_mut().zip(x.chunks(BLOCK)) {
            let mut scaled = [0.0; BLOCK];
            scaled.iter_mut().zip(x).for_each(|(scaled, x)| *scaled = x * up);
            let mut halves = [f16::ZERO; BLOCK];
            halves.convert_from_f32_slice(&scaled);
            *to = PairColumn::of(halves.iter().map(|half| half.to_bits()));
        }
        power(-shift)
    }
}

/// The bits of the nearest BF16 number, halves to the even one, of an f32.
#[inline(always)]
fn nearest_bf16(bits: u32) -> u32 {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16;
    // A NaN stays one, whichever of its bits are lost.
    let nan = bits >> 16 | 0x40;
    if bits & 0x7fff_ffff > INFINITY { nan } else { rounded }
}

/// The nearest integer of a number within ±2^22, halves to the even one: added to 1.5 * 2^23 it stands in the lowest
/// bits of the sum.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn no_magnitude_overflows_and_the_factor_gives_it_back() {
        for scale in [1e-30f32, 1e-6, 1.0, 3e5, 1e30] {
            let x: Vec<f32> = (0..40).map(|i| (i as f32 - 20.0) * scale).collect();
            let mut blocks = [PairColumn::default(); 2];
            let factor = PairColumn::f16_row(&x, &mut blocks);
            for (i, x) in x.iter().enumerate() {
                let pair = blocks[i / BLOCK].0[i % BLOCK / 2] as u32;
                let half = f16::from_bits((pair >> (16 * (i % 2))) as u16).to_f32();
                assert!((half * factor - x).abs() <= x.abs() / 2048.0, "{x} became {half}");
            }
            assert_eq!(blocks[1].0[4..], [0; 12]);
        }
        let mut blocks = [PairColumn::default(); 1];
        assert!(PairColumn::f16_row(&[0.0; 32], &mut blocks).is_finite());
        PairColumn::f16_row(&[f32::NAN, 1.0], &mut blocks);
        assert!(f16::from_bits(blocks[0].0[0] as u16).is_nan());
    }

    #[test]
    fn bf16_is_rounded_as_elsewhere() {
        let values = [0.0, -0.0, 1.0, 1.003_906_3, 1.011_718_8, f32::MAX, f32::INFINITY, -3.3e-39];
        for x in values {
            assert_eq!(nearest_bf16(x.to_bits()), u32::from(bf16::from_f32(x).to_bits()), "{x}");
        }
        assert!(bf16::from_bits(nearest_bf16(0x7f80_0001) as u16).is_nan());
    }
}
