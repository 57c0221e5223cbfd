//! The instructions that every 64-bit Arm CPU has, as safe functions under the names that Arm gave them.
//!
//! NEON is part of the architecture and of what the whole build is compiled for, so unlike on x86 nobody need ask the
//! CPU, and code over these functions needs no attribute to be inlined anywhere.
#![expect(unsafe_code, reason = "wraps the intrinsics of an instruction set that is always there")]

use std::arch::aarch64::*;
pub(crate) use std::arch::aarch64::{float32x4_t, int8x16_t, int32x4_t, uint8x16_t};

use half::f16;

const _: () = assert!(cfg!(target_feature = "neon"), "a build for 64-bit Arm without NEON");

macro_rules! safe {
    ($($name:ident($($x:ident: $from:ty),*) -> $to:ty;)*) => { $(
        #[inline(always)]
        pub(crate) fn $name($($x: $from),*) -> $to {
            // SAFETY: works on registers only, and the whole build is for CPUs that have it.
            unsafe { std::arch::aarch64::$name($($x),*) }
        }
    )* };
}

safe! {
    vdupq_n_f32(x: f32) -> float32x4_t;
    vaddq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    vsubq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    vmulq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    vdivq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    vfmaq_f32(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t;
    vrndnq_f32(x: float32x4_t) -> float32x4_t;
    vcgtq_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t;
    vbslq_f32(choice: uint32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t;
    vcvtq_s32_f32(x: float32x4_t) -> int32x4_t;
    vcvtq_f32_s32(x: int32x4_t) -> float32x4_t;
    vreinterpretq_f32_s32(x: int32x4_t) -> float32x4_t;
    vreinterpretq_s32_f32(x: float32x4_t) -> int32x4_t;

    vdupq_n_s32(x: i32) -> int32x4_t;
    vaddq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    vsubq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    vshlq_s32(x: int32x4_t, left: int32x4_t) -> int32x4_t;
    vpaddq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    vtrn1q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    vtrn2q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    vuzp1q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    vuzp2q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    vreinterpretq_s32_s8(x: int8x16_t) -> int32x4_t;
    vreinterpretq_s8_s32(x: int32x4_t) -> int8x16_t;
    vtrn1q_s64(a: int64x2_t, b: int64x2_t) -> int64x2_t;
    vtrn2q_s64(a: int64x2_t, b: int64x2_t) -> int64x2_t;
    vreinterpretq_s64_s32(x: int32x4_t) -> int64x2_t;
    vreinterpretq_s32_s64(x: int64x2_t) -> int32x4_t;
    vreinterpretq_s64_s8(x: int8x16_t) -> int64x2_t;
    vreinterpretq_s8_s64(x: int64x2_t) -> int8x16_t;

    vdupq_n_u8(x: u8) -> uint8x16_t;
    vdupq_n_s8(x: i8) -> int8x16_t;
    vandq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    vorrq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    vshlq_u8(x: uint8x16_t, left: int8x16_t) -> uint8x16_t;
    vtstq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    vsubq_s8(a: int8x16_t, b: int8x16_t) -> int8x16_t;
    vqtbl1q_s8(table: int8x16_t, at: uint8x16_t) -> int8x16_t;
    vuzp1q_s8(a: int8x16_t, b: int8x16_t) -> int8x16_t;
    vuzp2q_s8(a: int8x16_t, b: int8x16_t) -> int8x16_t;
    vcombine_u8(low: uint8x8_t, high: uint8x8_t) -> uint8x16_t;
    vdup_n_u8(x: u8) -> uint8x8_t;
    vcreate_u8(x: u64) -> uint8x8_t;
    vreinterpretq_s8_u8(x: uint8x16_t) -> int8x16_t;
    vreinterpretq_u8_u32(x: uint32x4_t) -> uint8x16_t;
    vdupq_n_u32(x: u32) -> uint32x4_t;
    vshlq_u32(x: uint32x4_t, left: int32x4_t) -> uint32x4_t;

    vget_low_s8(x: int8x16_t) -> int8x8_t;
    vmull_s8(a: int8x8_t, b: int8x8_t) -> int16x8_t;
    vmlal_high_s8(sums: int16x8_t, a: int8x16_t, b: int8x16_t) -> int16x8_t;
    vpadalq_s16(sums: int32x4_t, pairs: int16x8_t) -> int32x4_t;
    vmovl_s8(x: int8x8_t) -> int16x8_t;
    vget_low_s16(x: int16x8_t) -> int16x4_t;
    vmovl_s16(x: int16x4_t) -> int32x4_t;
    vmovl_high_s16(x: int16x8_t) -> int32x4_t;
}

macro_rules! load {
    ($($name:ident: $n:literal x $from:ty => $to:ty;)*) => { $(
        #[inline(always)]
        pub(crate) fn $name(x: &[$from; $n]) -> $to {
            // SAFETY: that many elements are there, and the whole build is for CPUs that have it.
            unsafe { std::arch::aarch64::$name(x.as_ptr()) }
        }
    )* };
}

load! {
    vld1q_f32: 4 x f32 => float32x4_t;
    vld1q_s32: 4 x i32 => int32x4_t;
    vld1q_s8: 16 x i8 => int8x16_t;
    vld1q_u8: 16 x u8 => uint8x16_t;
}

macro_rules! store {
    ($($name:ident: $from:ty => $n:literal x $to:ty;)*) => { $(
        #[inline(always)]
        pub(crate) fn $name(out: &mut [$to; $n], x: $from) {
            // SAFETY: that many elements are there, and the whole build is for CPUs that have it.
            unsafe { std::arch::aarch64::$name(out.as_mut_ptr(), x) }
        }
    )* };
}

store! {
    vst1q_f32: float32x4_t => 4 x f32;
    vst1q_s8: int8x16_t => 16 x i8;
}

/// Four half-precision numbers, widened. (The intrinsic wants a type that older compilers do not have.)
#[inline(always)]
pub(crate) fn widen_f16(x: &[f16; 4]) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: eight bytes are there.
    let narrow = unsafe { vld1_u16(x.as_ptr().cast()) };
    // SAFETY: works on registers only, and every 64-bit Arm CPU has it.
    unsafe {
        std::arch::asm!(
            "fcvtl {wide:v}.4s, {narrow:v}.4h",
            wide = out(vreg) wide,
            narrow = in(vreg) narrow,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    wide
}

/// Element `j` of register `i` becomes element `i` of register `j`.
#[inline(always)]
pub(crate) fn transpose(rows: [int32x4_t; 4]) -> [int32x4_t; 4] {
    let [a, b, c, d] = rows;
    let low = [vtrn1q_s32(a, b), vtrn2q_s32(a, b)].map(vreinterpretq_s64_s32);
    let high = [vtrn1q_s32(c, d), vtrn2q_s32(c, d)].map(vreinterpretq_s64_s32);
    [
        vtrn1q_s64(low[0], high[0]),
        vtrn1q_s64(low[1], high[1]),
        vtrn2q_s64(low[0], high[0]),
        vtrn2q_s64(low[1], high[1]),
    ]
    .map(vreinterpretq_s32_s64)
}

/// [`transpose`] of floats.
#[inline(always)]
pub(crate) fn transpose_f32(rows: [float32x4_t; 4]) -> [float32x4_t; 4] {
    transpose(rows.map(vreinterpretq_s32_f32)).map(vreinterpretq_f32_s32)
}
