//! The layouts: a precision of the scales and an order of the nibbles over a family.
//!
//! ```text
//! │ d: f32 or f16 │ m: f32 or f16, if any │ fifth bits: u32, if any │ nibbles: 16 bytes, or codes: 32 bytes │
//! ```

use gristmill_tensor::DType;

use super::family::{self, Family, Parts};
use crate::block::{read_f16, write_f16};
use crate::pack::{pack_fifth_bits, pack_nibbles, unpack_nibbles};
use crate::{BlockFormat, Quantize};

/// How the blocks of a family lie in their bytes.
pub(crate) trait Layout: 'static {
    /// What the codes mean.
    type Family: Family;
    /// The row of the type table.
    const TYPE: DType;
    /// Whether scales are `f32` rather than `f16`.
    const SINGLE: bool;
    /// Whether neighbors share a byte of nibbles rather than elements 16 apart.
    const NEIGHBORS: bool;
}

macro_rules! layouts {
    ($($name:ident: $family:ident, $single:literal, $neighbors:literal;)*) => { $(
        #[doc = concat!("`", stringify!($name), "`; see the type table.")]
        #[allow(non_camel_case_types)] // spelled as in the type table
        pub(crate) struct $name;

        impl Layout for $name {
            type Family = family::$family;
            const TYPE: DType = DType::$name;
            const SINGLE: bool = $single;
            const NEIGHBORS: bool = $neighbors;
        }
    )* };
}

layouts! {
    // family, f32 scales, neighbors share a byte
    Q4_0_V0: Q4_0, true, true;
    Q4_0_V1: Q4_0, true, false;
    Q4_0: Q4_0, false, false;
    Q4_1_V0: Q4_1, true, true;
    Q4_1_V1: Q4_1, true, false;
    Q4_1: Q4_1, false, false;
    Q5_0_V0: Q5_0, false, true;
    Q5_0: Q5_0, false, false;
    Q5_1_V0: Q5_1, false, true;
    Q5_1: Q5_1, false, false;
    Q8_0_V1: Q8_0, true, false;
    Q8_0: Q8_0, false, false;
}

impl<L: Layout> BlockFormat for L {
    const DTYPE: DType = L::TYPE;

    fn dequantize(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in pairs::<L>(blocks).zip(values.as_chunks_mut::<32>().0) {
            let Parts { d, m, codes } = take::<L>(block);
            *values = codes.map(|code| L::Family::value(code, d, m));
        }
    }
}

impl<L: Layout> Quantize for L {
    fn quantize(values: &[f32], blocks: &mut [u8]) {
        let blocks = blocks.chunks_exact_mut(L::TYPE.block_bytes());
        for (values, block) in values.as_chunks::<32>().0.iter().zip(blocks) {
            // Only version 0 let neighbors share a byte.
            let parts = match L::NEIGHBORS {
                true => L::Family::encode_v0(values),
                false => L::Family::encode(values),
            };
            put::<L>(&parts, block);
        }
    }
}

fn pairs<L: Layout>(blocks: &[u8]) -> std::slice::ChunksExact<'_, u8> {
    blocks.chunks_exact(L::TYPE.block_bytes())
}

/// Takes a block apart.
#[inline(always)]
pub(crate) fn take<L: Layout>(block: &[u8]) -> Parts {
    let mut rest = block;
    let mut scale = || {
        let (bytes, after) = rest.split_at(if L::SINGLE { 4 } else { 2 });
        rest = after;
        match *bytes {
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
            _ => read_f16(bytes, 0),
        }
    };
    let d = scale();
    let m = if L::Family::MINIMUM { scale() } else { 0.0 };
    if L::Family::BITS == 8 {
        return Parts { d, m, codes: std::array::from_fn(|i| rest[i]) };
    }
    let (fifth_bits, nibbles) = rest.split_at(if L::Family::BITS == 5 { 4 } else { 0 });
    let mut codes = if L::NEIGHBORS { unpack_neighbors(nibbles) } else { unpack_nibbles(nibbles) };
    for (i, code) in codes.iter_mut().enumerate().take(8 * fifth_bits.len()) {
        *code |= ((fifth_bits[i / 8] >> (i % 8)) & 1) << 4;
    }
    Parts { d, m, codes }
}

/// Puts a block together.
#[inline(always)]
pub(crate) fn put<L: Layout>(parts: &Parts, block: &mut [u8]) {
    let mut at = 0;
    let mut scale = |value: f32, block: &mut [u8]| {
        if L::SINGLE {
            block[at..at + 4].copy_from_slice(&value.to_le_bytes());
            at += 4;
        } else {
            write_f16(block, at, value);
            at += 2;
        }
    };
    scale(parts.d, block);
    if L::Family::MINIMUM {
        scale(parts.m, block);
    }
    if L::Family::BITS == 8 {
        block[at..].copy_from_slice(&parts.codes);
        return;
    }
    if L::Family::BITS == 5 {
        block[at..at + 4].copy_from_slice(&pack_fifth_bits(&parts.codes));
        at += 4;
    }
    match L::NEIGHBORS {
        true => pack_neighbors(&parts.codes, &mut block[at..]),
        false => pack_nibbles(&parts.codes, &mut block[at..]),
    }
}

/// The codes of 16 bytes in which neighbors share a byte.
#[inline(always)]
fn unpack_neighbors(bytes: &[u8]) -> [u8; 32] {
    std::array::from_fn(|i| (bytes[i / 2] >> (4 * (i % 2))) & 15)
}

/// The low four bits of each code, neighbors in one byte.
#[inline(always)]
fn pack_neighbors(codes: &[u8; 32], bytes: &mut [u8]) {
    for (byte, pair) in bytes.iter_mut().zip(codes.as_chunks::<2>().0) {
        *byte = (pair[0] & 15) | (pair[1] << 4);
    }
}
