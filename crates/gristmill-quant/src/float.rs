//! Plain numbers: floats of every width, integers and booleans, to and from `f32`.
//!
//! Widening is exact. Narrowing to F16 and BF16 rounds to nearest, ties to even, as IEEE 754 and ggml do; so does
//! reading F64 and wide integers into `f32`. The 8-bit floats are those of the OCP specification (safetensors'
//! `F8_E4M3` has no infinities; `F8_E5M2` is the upper byte of an `f16`).

use gristmill_tensor::DType;
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::block::{decode_blocks, encode_blocks};
use crate::{BlockFormat, Quantize};

/// Declares plain types: little-endian bytes of `$number`, turned into an `f32` by `$to_f32`.
macro_rules! plain_numbers {
    ($($name:ident($number:ty) => $to_f32:expr;)*) => { $(
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)] // spelled as in the type table
        pub(crate) struct $name;

        impl BlockFormat for $name {
            const DTYPE: DType = DType::$name;

            fn dequantize(blocks: &[u8], values: &mut [f32]) {
                let to_f32: fn($number) -> f32 = $to_f32;
                decode_blocks(blocks, values, |bytes, value: &mut [f32; 1]| {
                    value[0] = to_f32(<$number>::from_le_bytes(*bytes));
                });
            }
        }
    )* };
}

plain_numbers! {
    F32(f32) => |x| x;
    F64(f64) => |x| x as f32;
    BF16(u16) => |bits| f32::from_bits(u32::from(bits) << 16);
    F8_E4M3(u8) => f32_from_e4m3;
    F8_E5M2(u8) => |bits| f16::from_bits(u16::from(bits) << 8).to_f32();
    I8(i8) => f32::from;
    I16(i16) => f32::from;
    I32(i32) => |x| x as f32;
    I64(i64) => |x| x as f32;
    U8(u8) => f32::from;
    U16(u16) => f32::from;
    U32(u32) => |x| x as f32;
    U64(u64) => |x| x as f32;
    BOOL(u8) => |x| if x == 0 { 0.0 } else { 1.0 };
}

impl Quantize for F32 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |value: &[f32; 1], bytes| *bytes = value[0].to_le_bytes());
    }
}

impl Quantize for BF16 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        encode_blocks(values, blocks, |value: &[f32; 1], bytes| {
            *bytes = bf16_from_f32(value[0]).to_le_bytes()
        });
    }
}

/// IEEE 754 half precision; whole slices go through `half`, which uses the CPU's own conversion where it has one.
pub(crate) struct F16;

/// Elements converted at once: enough to hide the call, small enough to stay in the first cache.
const F16_CHUNK: usize = 256;

impl BlockFormat for F16 {
    const DTYPE: DType = DType::F16;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        let (bytes, rest) = blocks.as_chunks::<2>();
        assert!(rest.is_empty() && bytes.len() == values.len(), "two bytes for each value");
        let mut halves = [f16::ZERO; F16_CHUNK];
        for (bytes, values) in bytes.chunks(F16_CHUNK).zip(values.chunks_mut(F16_CHUNK)) {
            let halves = &mut halves[..bytes.len()];
            for (half, bytes) in halves.iter_mut().zip(bytes) {
                *half = f16::from_le_bytes(*bytes);
            }
            halves.convert_to_f32_slice(values);
        }
    }
}

impl Quantize for F16 {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        let (bytes, rest) = blocks.as_chunks_mut::<2>();
        assert!(rest.is_empty() && bytes.len() == values.len(), "two bytes for each value");
        let mut halves = [f16::ZERO; F16_CHUNK];
        for (values, bytes) in values.chunks(F16_CHUNK).zip(bytes.chunks_mut(F16_CHUNK)) {
            let halves = &mut halves[..values.len()];
            halves.convert_from_f32_slice(values);
            for (bytes, half) in bytes.iter_mut().zip(halves) {
                *bytes = half.to_le_bytes();
            }
        }
    }
}

/// The upper half of the bits, rounded to nearest even; a NaN stays a (quiet) NaN.
fn bf16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    (if value.is_nan() { quiet } else { rounded }) as u16
}

/// Sign, 4 bits of exponent (bias 7), 3 of mantissa; all ones is the only NaN, and there is no infinity.
fn f32_from_e4m3(bits: u8) -> f32 {
    let sign = u32::from(bits & 0x80) << 24;
    let magnitude = u32::from(bits & 0x7f);
    let value = match magnitude {
        0x7f => f32::NAN,
        0..8 => magnitude as f32 / 512.0,
        _ => f32::from_bits((magnitude << 20) + ((127 - 7) << 23)),
    };
    f32::from_bits(value.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<F: BlockFormat>(bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / F::DTYPE.block_bytes()];
        F::dequantize(bytes, &mut values);
        values
    }

    fn written<F: Quantize>(values: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; values.len() * F::DTYPE.block_bytes()];
        F::quantize(values, &mut bytes);
        bytes
    }

    #[test]
    fn every_f16_survives_the_way_through_f32() {
        let bytes: Vec<u8> = (0..=u16::MAX)
            .filter(|bits| bits & 0x7c00 != 0x7c00)
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(written::<F16>(&read::<F16>(&bytes)), bytes);
    }

    #[test]
    fn every_bf16_survives_the_way_through_f32() {
        let bytes: Vec<u8> = (0..=u16::MAX)
            .filter(|bits| bits & 0x7f80 != 0x7f80)
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(written::<BF16>(&read::<BF16>(&bytes)), bytes);
    }

    #[test]
    fn narrowing_rounds_ties_to_even() {
        let cases = [
            (1.0 + 1.0 / 2048.0, 0x3c00u16),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (65519.9, 0x7bff),
            (65520.0, 0x7c00),
        ];
        for (value, bits) in cases {
            assert_eq!(written::<F16>(&[value]), bits.to_le_bytes(), "{value} as F16");
        }
        let cases = [
            (0x3f80_8000, 0x3f80u16),
            (0x3f81_8000, 0x3f82),
            (0x3f80_8001, 0x3f81),
            (0x7f7f_ffff, 0x7f80),
        ];
        for (value, bits) in cases {
            assert_eq!(
                written::<BF16>(&[f32::from_bits(value)]),
                bits.to_le_bytes(),
                "{value:#x} as BF16"
            );
        }
        assert!(read::<BF16>(&written::<BF16>(&[f32::from_bits(0x7f80_0001)]))[0].is_nan());
        assert_eq!(read::<F64>(&(1.0 + f64::from(f32::EPSILON) / 2.0).to_le_bytes()), [1.0]);
    }

    #[test]
    fn eight_bit_floats_match_their_specification() {
        let e4m3 = read::<F8_E4M3>(&[0x00, 0x01, 0x07, 0x08, 0x38, 0x39, 0x7e, 0xb8, 0x80]);
        let smallest = 2f32.powi(-9);
        assert_eq!(
            e4m3,
            [0.0, smallest, 7.0 * smallest, 8.0 * smallest, 1.0, 1.125, 448.0, -1.0, 0.0]
        );
        assert!(e4m3[8].is_sign_negative());
        assert!(read::<F8_E4M3>(&[0x7f, 0xff]).iter().all(|x| x.is_nan()));
        let e5m2 = read::<F8_E5M2>(&[0x01, 0x3c, 0x3d, 0x7b, 0x7c, 0xbc]);
        assert_eq!(e5m2, [2f32.powi(-16), 1.0, 1.25, 57344.0, f32::INFINITY, -1.0]);
    }

    #[test]
    fn integers_and_booleans_become_numbers() {
        assert_eq!(read::<I8>(&[0xff, 0x7f]), [-1.0, 127.0]);
        assert_eq!(read::<U8>(&[0xff]), [255.0]);
        assert_eq!(read::<BOOL>(&[0, 1, 2]), [0.0, 1.0, 1.0]);
        assert_eq!(read::<I16>(&(-300i16).to_le_bytes()), [-300.0]);
        assert_eq!(read::<U16>(&65535u16.to_le_bytes()), [65535.0]);
        assert_eq!(read::<I32>(&(-16_777_217i32).to_le_bytes()), [-16_777_216.0]);
        assert_eq!(read::<U32>(&16_777_219u32.to_le_bytes()), [16_777_220.0]);
        assert_eq!(read::<I64>(&i64::MIN.to_le_bytes()), [-(2f32.powi(63))]);
        assert_eq!(read::<U64>(&u64::MAX.to_le_bytes()), [2f32.powi(64)]);
    }
}
