//! The table of codecs: one row per stored type that can be turned into `f32`.
//!
//! Plain numbers and block formats stand side by side, so whoever converts, runs or reports needs one look-up and no
//! special case for floats.

use gristmill_tensor::DType;

use crate::{BlockFormat, Quantize};
use crate::{
    float, iq4_nl, iq4_xs, legacy, mxfp4, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k,
    q8_0, q8_1, q8_k,
};

/// Turns values into blocks.
pub type QuantizeFn = fn(&[f32], &mut [u8]);

/// Turns blocks into values.
pub type DequantizeFn = fn(&[u8], &mut [f32]);

/// How rows of one type are made and read.
///
/// Both functions take a whole number of blocks on either side and panic otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// The type.
    pub dtype: DType,
    /// `f32` values to stored bytes; `None` for types that are only read.
    pub quantize: Option<QuantizeFn>,
    /// Stored bytes to `f32` values.
    pub dequantize: DequantizeFn,
}

impl Codec {
    /// A type that is read and made.
    const fn both<F: Quantize>() -> Codec {
        Codec { dtype: F::DTYPE, quantize: Some(F::quantize), dequantize: F::dequantize }
    }

    /// A type that is only read.
    const fn read<F: BlockFormat>() -> Codec {
        Codec { dtype: F::DTYPE, quantize: None, dequantize: F::dequantize }
    }
}

/// Every type the house can turn into numbers.
pub static CODECS: &[Codec] = &[
    Codec::both::<float::F32>(),
    Codec::both::<float::F16>(),
    Codec::both::<float::BF16>(),
    Codec::read::<float::F64>(),
    Codec::read::<float::F8_E4M3>(),
    Codec::read::<float::F8_E5M2>(),
    Codec::read::<float::I8>(),
    Codec::read::<float::I16>(),
    Codec::read::<float::I32>(),
    Codec::read::<float::I64>(),
    Codec::read::<float::U8>(),
    Codec::read::<float::U16>(),
    Codec::read::<float::U32>(),
    Codec::read::<float::U64>(),
    Codec::read::<float::BOOL>(),
    Codec::both::<q4_0::Q4_0>(),
    Codec::both::<q4_1::Q4_1>(),
    Codec::both::<q5_0::Q5_0>(),
    Codec::both::<q5_1::Q5_1>(),
    Codec::both::<q8_0::Q8_0>(),
    Codec::both::<q8_1::Q8_1>(),
    Codec::both::<q2_k::Q2_K>(),
    Codec::both::<q3_k::Q3_K>(),
    Codec::both::<q4_k::Q4_K>(),
    Codec::both::<q5_k::Q5_K>(),
    Codec::both::<q6_k::Q6_K>(),
    Codec::read::<q8_k::Q8_K>(),
    Codec::both::<iq4_nl::IQ4_NL>(),
    Codec::both::<iq4_xs::IQ4_XS>(),
    Codec::both::<mxfp4::MXFP4>(),
    Codec::both::<legacy::Q4_0_V0>(),
    Codec::both::<legacy::Q4_0_V1>(),
    Codec::both::<legacy::Q4_1_V0>(),
    Codec::both::<legacy::Q4_1_V1>(),
    Codec::both::<legacy::Q4_2>(),
    Codec::both::<legacy::Q4_3>(),
    Codec::both::<legacy::Q5_0_V0>(),
    Codec::both::<legacy::Q5_1_V0>(),
    Codec::both::<legacy::Q8_0_V1>(),
];

/// The codec of `dtype`; `None` for types known by size only.
pub fn codec(dtype: DType) -> Option<&'static Codec> {
    CODECS.iter().find(|codec| codec.dtype == dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_has_two_rows() {
        for row in CODECS {
            assert_eq!(
                CODECS.iter().filter(|other| other.dtype == row.dtype).count(),
                1,
                "{}",
                row.dtype
            );
        }
    }

    #[test]
    fn types_without_a_row_are_unknown() {
        assert!(codec(DType::IQ1_S).is_none());
    }
}
