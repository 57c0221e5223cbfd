//! From stored blocks to registers of codes and scales: the interface, and every [`Layout`].

use half::f16;

use super::ops::*;
use crate::matmul::blocks::{Blocks, Plain};
use crate::matmul::layout::{Layout, Scale};

/// How eight stored blocks of 32 weights become registers. What a type does not define itself goes through its plain
/// meaning, [`Blocks`].
pub(crate) trait Stored<const H: usize>: Blocks<H> {
    /// The codes of half `half` of block `b`, less the zero.
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        let zero = if Self::HAS_MIN { 0 } else { 1 << Self::ZERO_LOG2 };
        less(vld1q_u8(&Self::sixteen(eight, b, half)), zero)
    }

    /// The scales of the blocks, four in each register: of all their weights, or of their first and their last sixteen.
    #[inline(always)]
    fn scales(eight: &[u8]) -> [[float32x4_t; 2]; H] {
        by_block(|b, h| Self::scale(eight, b, h))
    }

    /// The minima, if there are any.
    #[inline(always)]
    fn minima(eight: &[u8]) -> [[float32x4_t; 2]; H] {
        by_block(|b, h| Self::minimum(eight, b, h))
    }
}

impl<L: Layout> Stored<1> for Plain<L> {
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        let block = &eight[b * L::BYTES..(b + 1) * L::BYTES];
        if L::BITS == 8 {
            return vreinterpretq_s8_u8(sixteen(block, L::CODES + 16 * half));
        }
        let nibbles = bits(block, L::CODES, 4 * half, 0x0f);
        if let Some(entries) = L::TABLE {
            return vqtbl1q_s8(vld1q_s8(entries), nibbles);
        }
        let codes = match L::HIGH {
            Some(high) => vorrq_u8(nibbles, fifth_bits(block, high + 2 * half)),
            None => nibbles,
        };
        less(codes, if Self::HAS_MIN { 0 } else { 1 << L::ZERO_LOG2 })
    }

    #[inline(always)]
    fn scales(eight: &[u8]) -> [[float32x4_t; 2]; 1] {
        match L::SCALE {
            Scale::F16 => [numbers::<L>(eight, 0)],
            Scale::Power => by_block(|b, h| Self::scale(eight, b, h)),
        }
    }

    #[inline(always)]
    fn minima(eight: &[u8]) -> [[float32x4_t; 2]; 1] {
        [numbers::<L>(eight, L::MIN.unwrap_or(0))]
    }
}

/// The f16 numbers at `at` of eight blocks.
#[inline(always)]
fn numbers<L: Layout>(eight: &[u8], at: usize) -> [float32x4_t; 2] {
    let mut numbers = [f16::ZERO; 8];
    for (b, number) in numbers.iter_mut().enumerate() {
        let block = &eight[b * L::BYTES..(b + 1) * L::BYTES];
        *number = f16::from_le_bytes([block[at], block[at + 1]]);
    }
    let [low, high] = halves(&numbers);
    [widen_f16(low), widen_f16(high)]
}

/// Bit `i` of the two bytes at `at`, as bit 4 of byte `i`.
#[inline(always)]
fn fifth_bits(block: &[u8], at: usize) -> uint8x16_t {
    // Byte `i` gets the byte that holds bit `i`, then only that bit.
    const BIT: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    let bytes = vcombine_u8(vdup_n_u8(block[at]), vdup_n_u8(block[at + 1]));
    vandq_u8(vtstq_u8(bytes, vld1q_u8(&BIT)), vdupq_n_u8(0x10))
}

/// A number for each of eight blocks or half blocks.
#[inline(always)]
fn by_block<const H: usize>(number: impl Fn(usize, usize) -> f32) -> [[float32x4_t; 2]; H] {
    let mut registers = [[vdupq_n_f32(0.0); 2]; H];
    for (h, registers) in registers.iter_mut().enumerate() {
        let mut numbers = [0.0; 8];
        for (b, value) in numbers.iter_mut().enumerate() {
            *value = number(b, h);
        }
        let [low, high] = halves(&numbers);
        *registers = [vld1q_f32(low), vld1q_f32(high)];
    }
    registers
}

/// Eight as two times four.
#[inline(always)]
fn halves<T>(eight: &[T; 8]) -> [&[T; 4]; 2] {
    let ([low, high], _) = eight.as_chunks() else { unreachable!("eight are two times four") };
    [low, high]
}

/// Sixteen bytes from `at`.
#[inline(always)]
pub(super) fn sixteen(bytes: &[u8], at: usize) -> uint8x16_t {
    vld1q_u8(bytes[at..].first_chunk().expect("inside the block"))
}

/// Of each of sixteen bytes from `at` those bits of `mask` that stand `bit` places higher.
#[inline(always)]
pub(super) fn bits(bytes: &[u8], at: usize, bit: usize, mask: u8) -> uint8x16_t {
    vandq_u8(moved(sixteen(bytes, at), -(bit as i8)), vdupq_n_u8(mask))
}

/// All bits of each byte moved to the left, or to the right where negative.
#[inline(always)]
pub(super) fn moved(x: uint8x16_t, left: i8) -> uint8x16_t {
    vshlq_u8(x, vdupq_n_s8(left))
}

/// Unsigned codes less their zero.
#[inline(always)]
pub(super) fn less(codes: uint8x16_t, zero: u8) -> int8x16_t {
    vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(zero as i8))
}
