//! What stored blocks mean as integers, for every type that has integer products.
//!
//! All of them are seen as blocks of 32 weights, `d * (code - zero)` or `d * code + m`, with one scale for the block
//! or one for each of its halves. Eight blocks are a unit here, since the types with super-blocks have eight in each.
//! The other levels have faster ways for some types; this is how all others, and the portable level, read them.

use super::layout::{IQ4, Layout, Scale};

/// Reads eight blocks at a time. Fewer may be there at the end of a row; the codes of the others are zero, and so are
/// their scales. Each block has `H` scales, one or two.
pub(crate) trait Blocks<const H: usize>: 'static {
    /// Bytes of eight blocks.
    const EIGHT_BYTES: usize;
    /// Whether the eight are stored together, as a super-block.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "asked by AVX-512 about the ends of rows")
    )]
    const IN_SUPER_BLOCKS: bool = true;
    /// Bits of a code.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "asked where sums saturate")
    )]
    const CODE_BITS: u32;
    /// The logarithm of `zero`; no meaning where there is a minimum.
    const ZERO_LOG2: u32;
    /// Whether there is a minimum `m`, and no zero.
    const HAS_MIN: bool;

    /// The codes of half `half` of block `b`.
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16];

    /// The scale of block `b`, or of half `h` of it.
    fn scale(eight: &[u8], b: usize, h: usize) -> f32;

    /// The minimum of block `b`, or of half `h` of it, for types that have them.
    fn minimum(_eight: &[u8], _b: usize, _h: usize) -> f32 {
        0.0
    }
}

/// A type with integer products: calls the macro `$with` with the name of the dtype, the type that implements
/// [`Blocks`], and the number of scales, for all of them.
macro_rules! integer_types {
    ($with:ident!) => {
        $with! {
            Q4_0, blocks::Plain<layout::Q4_0>, 1;
            Q4_1, blocks::Plain<layout::Q4_1>, 1;
            Q5_0, blocks::Plain<layout::Q5_0>, 1;
            Q5_1, blocks::Plain<layout::Q5_1>, 1;
            Q8_0, blocks::Plain<layout::Q8_0>, 1;
            Q2_K, blocks::Q2K, 2;
            Q3_K, blocks::Q3K, 2;
            Q4_K, blocks::Q4K, 1;
            Q5_K, blocks::Q5K, 1;
            Q6_K, blocks::Q6K, 2;
            IQ4_NL, blocks::Plain<layout::IQ4_NL>, 1;
            IQ4_XS, blocks::Iq4Xs, 1;
            MXFP4, blocks::Plain<layout::MXFP4>, 1;
        }
    };
}
pub(crate) use integer_types;

/// The f16 number at `at`, widened exactly.
///
/// The bits, moved to where an f32 has them, make a number 2^112 too small, except those of infinity and NaN, which
/// want the largest exponent. Unlike a call that asks the CPU for an instruction, this stays inline and vectorizes.
#[inline(always)]
pub(crate) fn number(bytes: &[u8], at: usize) -> f32 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    const INFINITY: u32 = 0x1f << 23;
    let bits = u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let magnitude = (bits & 0x7fff) << 13;
    let widened = if magnitude < INFINITY {
        (f32::from_bits(magnitude) * SCALE).to_bits()
    } else {
        magnitude | 0xff << 23
    };
    f32::from_bits(widened | (bits & 0x8000) << 16)
}

/// The little-endian dword at `at`.
#[inline(always)]
pub(crate) fn dword(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline(always)]
fn bytes_at(bytes: &[u8], at: usize) -> [u8; 16] {
    *bytes[at..].first_chunk().expect("inside the block")
}

/// The low (0) or high (1) nibbles.
#[inline(always)]
fn nibbles(bytes: [u8; 16], high: usize) -> [u8; 16] {
    bytes.map(|byte| (byte >> (4 * high)) & 15)
}

/// The types that the layout table describes.
pub(crate) struct Plain<L>(std::marker::PhantomData<L>);

/// Block `b` of eight, if it is there.
#[inline(always)]
fn block(eight: &[u8], bytes: usize, b: usize) -> Option<&[u8]> {
    eight.get(b * bytes..(b + 1) * bytes)
}

impl<L: Layout> Blocks<1> for Plain<L> {
    const EIGHT_BYTES: usize = 8 * L::BYTES;
    const IN_SUPER_BLOCKS: bool = false;
    const CODE_BITS: u32 = match (L::TABLE, L::HIGH) {
        (Some(_), _) => 8,
        (_, Some(_)) => 5,
        (_, None) => L::BITS,
    };
    const ZERO_LOG2: u32 = L::ZERO_LOG2;
    const HAS_MIN: bool = L::MIN.is_some();

    #[inline(always)]
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16] {
        let Some(block) = block(eight, L::BYTES, b) else {
            return [0; 16];
        };
        if L::BITS == 8 {
            // Signed bytes with the top bit flipped are codes around 128.
            return bytes_at(block, L::CODES + 16 * half).map(|code| code ^ 0x80);
        }
        let mut codes = nibbles(bytes_at(block, L::CODES), half);
        if let Some(table) = L::TABLE {
            return looked_up(codes, table);
        }
        if let Some(high) = L::HIGH {
            for (i, code) in codes.iter_mut().enumerate() {
                *code |= ((block[high + 2 * half + i / 8] >> (i % 8)) & 1) << 4;
            }
        }
        codes
    }

    #[inline(always)]
    fn scale(eight: &[u8], b: usize, _: usize) -> f32 {
        let Some(block) = block(eight, L::BYTES, b) else {
            return 0.0;
        };
        match L::SCALE {
            Scale::F16 => number(block, 0),
            Scale::Power => match block[0] {
                e @ (0 | 1) => f32::from_bits(0x0020_0000 << e),
                e => f32::from_bits(u32::from(e - 1) << 23),
            },
        }
    }

    #[inline(always)]
    fn minimum(eight: &[u8], b: usize, _: usize) -> f32 {
        let at = L::MIN.unwrap_or(0);
        block(eight, L::BYTES, b).map_or(0.0, |block| number(block, at))
    }
}

/// 16 bytes of 4-bit scales and minima, 64 of 2-bit codes, two numbers.
pub(crate) struct Q2K;

impl Blocks<2> for Q2K {
    const EIGHT_BYTES: usize = 84;
    const CODE_BITS: u32 = 2;
    const ZERO_LOG2: u32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16] {
        bytes_at(eight, 16 + b / 4 * 32 + 16 * half).map(|byte| (byte >> (b % 4 * 2)) & 3)
    }

    #[inline(always)]
    fn scale(eight: &[u8], b: usize, h: usize) -> f32 {
        number(eight, 80) * f32::from(eight[2 * b + h] & 15)
    }

    #[inline(always)]
    fn minimum(eight: &[u8], b: usize, h: usize) -> f32 {
        -(number(eight, 82) * f32::from(eight[2 * b + h] >> 4))
    }
}

/// 32 bytes of third bits, 64 of the others, twelve of 6-bit scales, one number.
pub(crate) struct Q3K;

impl Blocks<2> for Q3K {
    const EIGHT_BYTES: usize = 110;
    const CODE_BITS: u32 = 3;
    const ZERO_LOG2: u32 = 2;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16] {
        let third = bytes_at(eight, 16 * half);
        let mut codes = bytes_at(eight, 32 + b / 4 * 32 + 16 * half);
        for i in 0..16 {
            codes[i] = (codes[i] >> (b % 4 * 2)) & 3 | ((third[i] >> b) & 1) << 2;
        }
        codes
    }

    #[inline(always)]
    fn scale(eight: &[u8], b: usize, h: usize) -> f32 {
        const SCALES: usize = 96;
        let g = 2 * b + h;
        let low = (eight[SCALES + g % 8] >> (g / 8 * 4)) & 15;
        let high = (eight[SCALES + 8 + g % 4] >> (g / 4 * 2)) & 3;
        number(eight, 108) * (f32::from(low | high << 4) - 32.0)
    }
}

/// Two numbers, twelve bytes of 6-bit scales and minima, 128 of 4-bit codes.
pub(crate) struct Q4K;
/// As Q4_K, with 32 bytes of fifth bits before the others.
pub(crate) struct Q5K;

/// The 6-bit scale (`wanted` 0) or minimum (1) of block `b` of a Q4_K or Q5_K super-block.
///
/// The first four are the low six bits of bytes 0..4 (4..8); the other four have their low four bits in the low (high)
/// nibbles of bytes 8..12 and their high two in the top bits of bytes 0..4 (4..8).
#[inline(always)]
fn six_bits(eight: &[u8], b: usize, wanted: usize) -> f32 {
    (six_bits_of_all(eight, wanted) >> (8 * b)) as u8 as f32
}

/// [`six_bits`] of the eight blocks, a byte each.
#[inline(always)]
pub(crate) fn six_bits_of_all(eight: &[u8], wanted: usize) -> u64 {
    const PACKED: usize = 4;
    let own = dword(eight, PACKED + 4 * wanted);
    let shared = dword(eight, PACKED + 8) >> (4 * wanted);
    let low = own & 0x3f3f_3f3f;
    let high = (shared & 0x0f0f_0f0f) | ((own >> 2) & 0x3030_3030);
    u64::from(low) | u64::from(high) << 32
}

impl Blocks<1> for Q4K {
    const EIGHT_BYTES: usize = 144;
    const CODE_BITS: u32 = 4;
    const ZERO_LOG2: u32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16] {
        nibbles(bytes_at(eight, 16 + b / 2 * 32 + 16 * half), b % 2)
    }

    #[inline(always)]
    fn scale(eight: &[u8], b: usize, _: usize) -> f32 {
        number(eight, 0) * six_bits(eight, b, 0)
    }

    #[inline(always)]
    fn minimum(eight: &[u8], b: usize, _: usize) -> f32 {
        -(number(eight, 2) * six_bits(eight, b, 1))
    }
}

impl Blocks<1> for Q5K {
    const EIGHT_BYTES: usize = 176;
    const CODE_BITS: u32 = 5;
    const ZERO_LOG2: u32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16] {
        let fifth = bytes_at(eight, 16 + 16 * half);
        let mut codes = nibbles(bytes_at(eight, 48 + b / 2 * 32 + 16 * half), b % 2);
        for i in 0..16 {
            codes[i] |= ((fifth[i] >> b) & 1) << 4;
        }
        codes
    }

    #[inline(always)]
    fn scale(eight: &[u8], b: usize, h: usize) -> f32 {
        Q4K::scale(eight, b, h)
    }

    #[inline(always)]
    fn minimum(eight: &[u8], b: usize, h: usize) -> f32 {
        Q4K::minimum(eight, b, h)
    }
}

/// 128 bytes of low four bits, 64 of high two bits, sixteen 8-bit scales, one number.
pub(crate) struct Q6K;

impl Blocks<2> for Q6K {
    const EIGHT_BYTES: usize = 210;
    const CODE_BITS: u32 = 6;
    const ZERO_LOG2: u32 = 5;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16] {
        let (part, k) = (b / 4, b % 4);
        let low = nibbles(bytes_at(eight, 64 * part + k % 2 * 32 + 16 * half), k / 2);
        let high = bytes_at(eight, 128 + 32 * part + 16 * half);
        let mut codes = low;
        for i in 0..16 {
            codes[i] |= ((high[i] >> (2 * k)) & 3) << 4;
        }
        codes
    }

    #[inline(always)]
    fn scale(eight: &[u8], b: usize, h: usize) -> f32 {
        number(eight, 208) * f32::from(eight[192 + 2 * b + h] as i8)
    }
}

/// What nibbles mean in a type with a table, plus 128.
#[inline(always)]
fn looked_up(nibbles: [u8; 16], table: &[i8; 16]) -> [u8; 16] {
    nibbles.map(|nibble| (table[usize::from(nibble & 15)] as u8) ^ 0x80)
}

/// One number, 6-bit scales in a word and four bytes, 128 bytes of codes; the table of IQ4_NL.
pub(crate) struct Iq4Xs;

impl Blocks<1> for Iq4Xs {
    const EIGHT_BYTES: usize = 136;
    const CODE_BITS: u32 = 8;
    const ZERO_LOG2: u32 = 7;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn sixteen(eight: &[u8], b: usize, half: usize) -> [u8; 16] {
        looked_up(nibbles(bytes_at(eight, 8 + 16 * b), half), &IQ4)
    }

    #[inline(always)]
    fn scale(eight: &[u8], b: usize, _: usize) -> f32 {
        let low = (eight[4 + b / 2] >> (b % 2 * 4)) & 15;
        let high = (u16::from_le_bytes([eight[2], eight[3]]) >> (2 * b)) as u8 & 3;
        number(eight, 0) * (f32::from(low | high << 4) - 32.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn every_half_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (number(&bits.to_le_bytes(), 0), f16::from_bits(bits).to_f32());
            let is_same =
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(is_same, "{bits:#x}: {found}, not {expected}");
        }
    }
}
