//! Bytes times bytes, summed exactly in 32 bits: the one thing in which AVX2 and AVX-VNNI differ.
//!
//! Products of codes with activations are added to sums of their own between [`begin`] and [`end`]. With VNNI these have
//! 32 bits. Without, `vpmaddubsw` adds pairs of products to 16 bits, which saturate, so there is [`room`] for a few; and
//! codes of 8 bits would saturate at once: there the magnitudes of the weights meet activations that have been given
//! the weights' signs.
#![expect(unsafe_code, reason = "an instruction of a CPU that is known only at run time")]

use std::arch::asm;
use std::arch::x86_64::*;

use super::unpack::Stored;
use crate::level::{AtLevel, tag};

/// How bytes are multiplied at a level.
pub(super) trait Multiply: AtLevel {
    /// Whether sums have 16 bits until they are widened.
    const IS_NARROW: bool;
}

impl Multiply for tag::Avx2 {
    const IS_NARROW: bool = true;
}

impl Multiply for tag::AvxVnni {
    const IS_NARROW: bool = false;
}

/// Whether codes are multiplied as signed bytes, since two products of unsigned ones might not fit.
pub(super) const fn is_signed<M: Multiply, S: Stored<H>, const H: usize>() -> bool {
    M::IS_NARROW && S::CODE_BITS == 8
}

/// How many registers of products can be added between [`begin`] and [`end`], at most those of a block.
pub(super) const fn room<M: Multiply, S: Stored<H>, const H: usize>() -> usize {
    const OF_A_BLOCK: usize = 8;
    if !M::IS_NARROW {
        return OF_A_BLOCK;
    }
    if is_signed::<M, S, H>() {
        return 1;
    }
    let largest = 2 * 127 * ((1 << S::CODE_BITS) - 1);
    if OF_A_BLOCK * largest <= 32767 { OF_A_BLOCK } else { 32767 / largest / 2 * 2 }
}

/// How far to shift -128 times the sum of the activations, to correct for codes around a zero that are multiplied
/// unsigned.
pub(super) const fn zero_shift<M: Multiply, S: Stored<H>, const H: usize>() -> Option<i32> {
    if S::HAS_MIN || is_signed::<M, S, H>() { None } else { Some(7 - S::ZERO_LOG2 as i32) }
}

/// Codes as [`add`] takes them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn ready<M: Multiply, S: Stored<H>, const H: usize>(codes: __m256i) -> __m256i {
    if is_signed::<M, S, H>() { _mm256_xor_si256(codes, _mm256_set1_epi8(i8::MIN)) } else { codes }
}

/// What products are added to that belong to `sums`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn begin<M: Multiply>(sums: __m256i) -> __m256i {
    if M::IS_NARROW { _mm256_setzero_si256() } else { sums }
}

/// Adds the products of 32 codes with 32 activations.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add<M: Multiply, S: Stored<H>, const H: usize>(
    products: __m256i,
    codes: __m256i,
    x: __m256i,
) -> __m256i {
    if !M::IS_NARROW {
        // SAFETY: of the two levels only AVX-VNNI comes here, and its kernels have asked the CPU.
        return unsafe { dpbusd(products, codes, x) };
    }
    let pairs = if is_signed::<M, S, H>() {
        _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
    } else {
        _mm256_maddubs_epi16(codes, x)
    };
    in_order(_mm256_add_epi16(products, pairs))
}

/// The sums together with the products that were added.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn end<M: Multiply>(sums: __m256i, products: __m256i) -> __m256i {
    if M::IS_NARROW {
        in_order(_mm256_add_epi32(sums, _mm256_madd_epi16(products, _mm256_set1_epi16(1))))
    } else {
        products
    }
}

/// The same sums. The compiler, which would otherwise add up in whatever order and run out of registers for it, has to
/// have them here.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn in_order(mut sums: __m256i) -> __m256i {
    // SAFETY: does nothing.
    unsafe {
        // Not `pure`, or it might be moved.
        asm!("/* {0} */", inout(ymm_reg) sums, options(nomem, nostack, preserves_flags));
    }
    sums
}

/// Adds the products of 32 unsigned with 32 signed bytes, four to each sum.
///
/// The intrinsic would be a call in functions that are compiled for AVX2, as all are that the two levels share.
///
/// # Safety
/// The CPU has AVX-VNNI.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dpbusd(mut sums: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    // SAFETY: works on registers only, and the CPU has it, says the caller.
    unsafe {
        asm!(
            "{{vex}} vpdpbusd {sums}, {unsigned}, {signed}",
            sums = inout(ymm_reg) sums,
            unsigned = in(ymm_reg) unsigned,
            signed = in(ymm_reg) signed,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
