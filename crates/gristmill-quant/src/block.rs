//! The traits of a block format, and the walk over rows that all of them share.
//!
//! A format is a unit struct. It works on byte arrays cut from the row by `as_chunks`, so there is no cast, no
//! alignment rule and no doubt about endianness: every number on disk is little-endian and read as such.

use gristmill_tensor::DType;
use half::f16;

/// What the blocks of one format mean.
///
/// `values` holds a whole number of blocks, and `blocks` exactly as many; anything else is a bug of the caller and
/// panics.
pub trait BlockFormat: 'static {
    /// The row of the type table that gives the sizes.
    const DTYPE: DType;

    /// Restores the values of `blocks`, exactly as ggml does.
    fn dequantize(blocks: &[u8], values: &mut [f32]);
}

/// A format that can be made here.
pub trait Quantize: BlockFormat {
    /// Encodes `values`; the bytes are those of ggml's reference.
    ///
    /// Some values mean nothing in blocks (see [`unfit_for_blocks`](crate::unfit_for_blocks)): they do no harm, but
    /// neither do the bytes of their blocks mean anything.
    fn quantize(values: &[f32], blocks: &mut [u8]);
}

/// Calls `decode` for each block of `BYTES` bytes and its `LEN` values.
pub(crate) fn decode_blocks<const BYTES: usize, const LEN: usize>(
    blocks: &[u8],
    values: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, values) = (blocks.as_chunks(), values.as_chunks_mut());
    assert_whole_blocks(blocks.0.len(), blocks.1.len(), values.0.len(), values.1.len());
    for (block, values) in blocks.0.iter().zip(values.0) {
        decode(block, values);
    }
}

/// Calls `encode` for each group of `LEN` values and its block of `BYTES` bytes.
#[inline(always)]
pub(crate) fn encode_blocks<const BYTES: usize, const LEN: usize>(
    values: &[f32],
    blocks: &mut [u8],
    encode: impl Fn(&[f32; LEN], &mut [u8; BYTES]),
) {
    let (values, blocks) = (values.as_chunks(), blocks.as_chunks_mut());
    assert_whole_blocks(blocks.0.len(), blocks.1.len(), values.0.len(), values.1.len());
    for (values, block) in values.0.iter().zip(blocks.0) {
        encode(values, block);
    }
}

fn assert_whole_blocks(
    n_blocks: usize,
    rest_of_bytes: usize,
    n_groups: usize,
    rest_of_values: usize,
) {
    assert!(
        n_blocks == n_groups && rest_of_bytes == 0 && rest_of_values == 0,
        "a row of {n_groups} groups and {rest_of_values} values does not fit {n_blocks} blocks and {rest_of_bytes} bytes"
    );
}

/// The `f16` at byte `at` of a block, widened (exact).
#[inline(always)]
pub(crate) fn read_f16(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Stores `value` at byte `at` of a block as the nearest `f16`, ties to even.
#[inline(always)]
pub(crate) fn write_f16(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic = "does not fit"]
    fn refuses_a_row_that_is_not_whole_blocks() {
        encode_blocks::<18, 32>(&[0.0; 33], &mut [0; 18], |_, _| ());
    }

    #[test]
    #[should_panic = "does not fit"]
    fn refuses_fewer_blocks_than_values() {
        decode_blocks::<18, 32>(&[0; 18], &mut [0.0; 64], |_, _| ());
    }

    #[test]
    fn f16_rounds_to_even_and_keeps_the_sign_of_zero() {
        let mut bytes = [0u8; 2];
        for (value, expected) in
            [(1.0 + 1.0 / 2048.0, 0x3c00), (1.0 + 3.0 / 2048.0, 0x3c02), (-0.0, 0x8000u16)]
        {
            write_f16(&mut bytes, 0, value);
            assert_eq!(u16::from_le_bytes(bytes), expected, "{value}");
        }
        assert_eq!(read_f16(&[0x00, 0x7c], 0), f32::INFINITY);
    }
}
