//! Random weights of any type: the codes are noise, the scales are such that the weights spread like trained ones.

use gristmill_tensor::DType;
use half::{bf16, f16};

use crate::random::{Random, Weights};

/// The standard deviation of the weights.
const SIGMA: f32 = 0.02;

/// A number of a block that must not be noise: where it stands, and its value for weights of standard deviation 1.
type Fixed = (usize, f32);

/// The f16 numbers of a block whose other bytes may be anything. With uniform codes a weight spreads by the scale
/// times the spread of its code (and of its group's scale, where there is one); minima bring the mean to zero.
fn fixed(dtype: DType) -> Option<&'static [Fixed]> {
    Some(match dtype {
        DType::Q4_0 => &[(0, 1.0 / 4.6)],
        DType::Q4_1 => &[(0, 1.0 / 4.6), (2, -7.5 / 4.6)],
        DType::Q5_0 => &[(0, 1.0 / 9.2)],
        DType::Q5_1 => &[(0, 1.0 / 9.2), (2, -15.5 / 9.2)],
        DType::Q8_0 => &[(0, 1.0 / 74.0)],
        DType::Q2_K => &[(80, 1.0 / 14.0), (82, 1.5 / 14.0)],
        DType::Q3_K => &[(108, 1.0 / 43.0)],
        DType::Q4_K => &[(0, 1.0 / 258.0), (2, 7.5 / 258.0)],
        DType::Q5_K => &[(0, 1.0 / 527.0), (2, 15.5 / 527.0)],
        DType::Q6_K => &[(208, 1.0 / 1368.0)],
        DType::IQ4_NL => &[(0, 1.0 / 70.0)],
        DType::IQ4_XS => &[(0, 1.0 / 1300.0)],
        _ => return None,
    })
}

/// The exponent byte of an MXFP4 block for the same spread: 2^-8 / 2 times codes that spread by 5.8.
const MXFP4_EXPONENT: u8 = 120;

/// Whether there is a recipe for a type.
pub(crate) fn can_be_made(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::MXFP4) || fixed(dtype).is_some()
}

/// Fills `bytes` with the f32 number 1.
pub(crate) fn ones(bytes: &mut [u8]) {
    bytes.as_chunks_mut().0.fill(1f32.to_le_bytes());
}

/// Random weights of any type.
pub(crate) struct Noise {
    bits: Random,
    singles: Weights<4>,
    halves: Weights<2>,
    brains: Weights<2>,
}

impl Noise {
    pub(crate) fn new() -> Noise {
        Noise {
            bits: Random::new(1),
            singles: Weights::new(2, SIGMA, f32::to_le_bytes),
            halves: Weights::new(2, SIGMA, |value| f16::from_f32(value).to_le_bytes()),
            brains: Weights::new(2, SIGMA, |value| bf16::from_f32(value).to_le_bytes()),
        }
    }

    /// Fills `slab`, whole blocks of a type that [can be made](can_be_made).
    pub(crate) fn fill(&mut self, dtype: DType, slab: &mut [u8]) {
        match dtype {
            DType::F32 => return self.singles.fill(slab),
            DType::F16 => return self.halves.fill(slab),
            DType::BF16 => return self.brains.fill(slab),
            _ => self.bits.fill(slab),
        }
        let blocks = slab.chunks_exact_mut(dtype.block_bytes());
        let Some(fixed) = fixed(dtype) else {
            return blocks.for_each(|block| block[0] = MXFP4_EXPONENT);
        };
        let numbers: Vec<(usize, [u8; 2])> = fixed
            .iter()
            .map(|&(at, value)| (at, f16::from_f32(SIGMA * value).to_le_bytes()))
            .collect();
        for block in blocks {
            for (at, number) in &numbers {
                block[*at..*at + 2].copy_from_slice(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_quant::CODECS;

    #[test]
    fn weights_of_every_type_spread_alike_around_zero() {
        const N: usize = 1 << 16;
        let mut made = 0;
        for codec in CODECS.iter().filter(|codec| can_be_made(codec.dtype)) {
            let mut bytes = vec![0; codec.dtype.row_bytes(N).unwrap()];
            Noise::new().fill(codec.dtype, &mut bytes);
            let mut values = vec![0f32; N];
            (codec.dequantize)(&bytes, &mut values);
            let mean = values.iter().sum::<f32>() / N as f32;
            let deviation = (values.iter().map(|v| v * v).sum::<f32>() / N as f32).sqrt();
            // Signed codes reach one further down than up.
            assert!(mean.abs() < 0.15 * SIGMA, "{}: mean {mean}", codec.dtype);
            assert!((0.8..1.25).contains(&(deviation / SIGMA)), "{}: {deviation}", codec.dtype);
            made += 1;
        }
        assert_eq!(made, 16);
    }
}
