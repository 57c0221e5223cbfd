//! The types with super-blocks of 256 weights, which are eight blocks of 32 here.
//!
//! Scales and minima of a block are small integers times a number of the super-block; the product is exact in f32.

use super::ops::*;
use super::unpack::{Stored, bits, less, moved, sixteen};
use crate::matmul::blocks::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K, dword, number, six_bits_of_all};
use crate::matmul::layout::IQ4;

impl Stored<2> for Q2K {
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        less(bits(eight, 16 + b / 4 * 32 + 16 * half, b % 4 * 2, 0x03), 0)
    }

    #[inline(always)]
    fn scales(eight: &[u8]) -> [[float32x4_t; 2]; 2] {
        by_half(less(bits(eight, 0, 0, 0x0f), 0), number(eight, 80))
    }

    #[inline(always)]
    fn minima(eight: &[u8]) -> [[float32x4_t; 2]; 2] {
        by_half(less(bits(eight, 0, 4, 0x0f), 0), -number(eight, 82))
    }
}

impl Stored<2> for Q3K {
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        let low = bits(eight, 32 + b / 4 * 32 + 16 * half, b % 4 * 2, 0x03);
        let third = bits(eight, 16 * half, b, 0x01);
        less(vorrq_u8(low, moved(third, 2)), 1 << 2)
    }

    #[inline(always)]
    fn scales(eight: &[u8]) -> [[float32x4_t; 2]; 2] {
        // Two scales share a byte for their low four bits, four share one for their high two.
        const LOW: usize = 96;
        let low = u64::from(dword(eight, LOW)) | u64::from(dword(eight, LOW + 4)) << 32;
        let low = vcombine_u8(vcreate_u8(low), vcreate_u8(low >> 4));
        let high = vdupq_n_u32(dword(eight, LOW + 8));
        let high = vreinterpretq_u8_u32(vshlq_u32(high, vld1q_s32(&[0, -2, -4, -6])));
        let low = vandq_u8(low, vdupq_n_u8(0x0f));
        let high = moved(vandq_u8(high, vdupq_n_u8(0x03)), 4);
        by_half(less(vorrq_u8(low, high), 32), number(eight, 108))
    }
}

impl Stored<1> for Q4K {
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        less(bits(eight, 16 + b / 2 * 32 + 16 * half, b % 2 * 4, 0x0f), 0)
    }

    #[inline(always)]
    fn scales(eight: &[u8]) -> [[float32x4_t; 2]; 1] {
        [six_bits(eight, 0, number(eight, 0))]
    }

    #[inline(always)]
    fn minima(eight: &[u8]) -> [[float32x4_t; 2]; 1] {
        [six_bits(eight, 1, -number(eight, 2))]
    }
}

impl Stored<1> for Q5K {
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        let low = bits(eight, 48 + b / 2 * 32 + 16 * half, b % 2 * 4, 0x0f);
        let fifth = bits(eight, 16 + 16 * half, b, 0x01);
        less(vorrq_u8(low, moved(fifth, 4)), 0)
    }

    #[inline(always)]
    fn scales(eight: &[u8]) -> [[float32x4_t; 2]; 1] {
        <Q4K as Stored<1>>::scales(eight)
    }

    #[inline(always)]
    fn minima(eight: &[u8]) -> [[float32x4_t; 2]; 1] {
        <Q4K as Stored<1>>::minima(eight)
    }
}

impl Stored<2> for Q6K {
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        let low = bits(eight, b / 4 * 64 + b % 2 * 32 + 16 * half, b % 4 / 2 * 4, 0x0f);
        let high = bits(eight, 128 + b / 4 * 32 + 16 * half, b % 4 * 2, 0x03);
        less(vorrq_u8(low, moved(high, 4)), 1 << 5)
    }

    #[inline(always)]
    fn scales(eight: &[u8]) -> [[float32x4_t; 2]; 2] {
        by_half(less(sixteen(eight, 192), 0), number(eight, 208))
    }
}

impl Stored<1> for Iq4Xs {
    #[inline(always)]
    fn codes(eight: &[u8], b: usize, half: usize) -> int8x16_t {
        vqtbl1q_s8(vld1q_s8(&IQ4), bits(eight, 8 + 16 * b, 4 * half, 0x0f))
    }
}

/// Sixteen small integers, one for each half of a block, times a number.
#[inline(always)]
fn by_half(integers: int8x16_t, factor: f32) -> [[float32x4_t; 2]; 2] {
    [vuzp1q_s8(integers, integers), vuzp2q_s8(integers, integers)]
        .map(|integers| by_block(integers, factor))
}

/// The first eight of some small integers, one for each block, times a number.
#[inline(always)]
fn by_block(integers: int8x16_t, factor: f32) -> [float32x4_t; 2] {
    let eight = vmovl_s8(vget_low_s8(integers));
    [vmovl_s16(vget_low_s16(eight)), vmovl_high_s16(eight)]
        .map(|four| vmulq_f32(vcvtq_f32_s32(four), vdupq_n_f32(factor)))
}

/// The six-bit scales (`wanted` 0) or minima (1) of the blocks, times a number.
#[inline(always)]
fn six_bits(eight: &[u8], wanted: usize, factor: f32) -> [float32x4_t; 2] {
    let integers = vcreate_u8(six_bits_of_all(eight, wanted));
    by_block(less(vcombine_u8(integers, integers), 0), factor)
}
