//! Bytes times bytes, summed exactly in 32 bits: the one thing in which the levels differ.
#![expect(unsafe_code, reason = "instructions of a CPU that is known only at run time")]

use std::arch::asm;

use super::ops::*;
use crate::level::{AtLevel, tag};

/// Codes of four blocks of one row of weights: the first and the last sixteen of each.
pub(super) type Quad = [[[i8; 16]; 2]; 4];
/// Codes of four blocks of one token, as a [`Group`](crate::matmul::activations::Group) has them: the first sixteen of
/// each, then the last sixteen.
pub(super) type QuadOfX = [[[i8; 16]; 4]; 2];

/// How bytes are multiplied at one level. No weight is outside -128..=127 and no activation outside -127..=127.
pub(super) trait Multiply: AtLevel {
    /// Runs the work compiled for this level.
    ///
    /// # Panics
    /// When the CPU does not have the level.
    fn run(work: impl Work);

    /// Adds the products of sixteen pairs to the four sums, whichever to which.
    fn dot(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t;

    /// Puts two rows of a panel as [`products`](Self::products) wants them.
    #[inline(always)]
    fn arrange(rows: [int8x16_t; 2]) -> [int8x16_t; 2] {
        rows
    }

    /// Four sums, one for each block, of each of two rows with each of `N` tokens (one or two); for `H == 2` those of
    /// the first and of the last halves.
    #[inline(always)]
    fn products<const H: usize, const N: usize>(
        w: &[Quad; 2],
        x: [&QuadOfX; N],
    ) -> [[[int32x4_t; H]; N]; 2] {
        let mut products = [[[vdupq_n_s32(0); H]; N]; 2];
        for r in 0..2 {
            let w = w[r].map(|block| block.map(|half| vld1q_s8(&half)));
            for n in 0..N {
                products[r][n] = block_sums::<Self, H>(w, x[n]);
            }
        }
        products
    }
}

/// Something to do at a level. Implementations are `#[inline(always)]`, as is all they call: what is not inlined into
/// [`Multiply::run`] is compiled for the least CPU of the architecture.
pub(super) trait Work {
    /// Does it with the instructions of `M`.
    fn run<M: Multiply>(self);
}

/// The sums of four blocks of one row with one token.
#[inline(always)]
pub(super) fn block_sums<M: Multiply + ?Sized, const H: usize>(
    w: [[int8x16_t; 2]; 4],
    x: &QuadOfX,
) -> [int32x4_t; H] {
    let mut partial = [[vdupq_n_s32(0); 4]; H];
    for b in 0..4 {
        for half in 0..2 {
            let sums = &mut partial[half * (H - 1)][b];
            *sums = M::dot(*sums, w[b][half], vld1q_s8(&x[half][b]));
        }
    }
    partial.map(|[a, b, c, d]| vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)))
}

macro_rules! run_at {
    ($level:ident, $features:literal) => {
        fn run(work: impl Work) {
            #[target_feature(enable = $features)]
            fn compiled(work: impl Work) {
                work.run::<tag::$level>();
            }
            assert!(Self::LEVEL.is_available());
            // SAFETY: the CPU has been asked.
            unsafe { compiled(work) }
        }
    };
}

impl Multiply for tag::Neon {
    run_at!(Neon, "neon");

    #[inline(always)]
    fn dot(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // Two products are at most 2 * 128 * 127, which fits 16 bits.
        let pairs = vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x);
        vpadalq_s16(sums, pairs)
    }
}

impl Multiply for tag::NeonDotprod {
    run_at!(NeonDotprod, "neon,dotprod");

    #[inline(always)]
    fn dot(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // SAFETY: this is reached through `run` only.
        unsafe { sdot(sums, w, x) }
    }
}

impl Multiply for tag::NeonI8mm {
    run_at!(NeonI8mm, "neon,dotprod,i8mm");

    #[inline(always)]
    fn dot(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // SAFETY: this is reached through `run` only.
        unsafe { sdot(sums, w, x) }
    }

    #[inline(always)]
    fn arrange(rows: [int8x16_t; 2]) -> [int8x16_t; 2] {
        interleaved(rows)
    }

    /// One instruction multiplies eight codes of two rows with eight of two tokens, to four sums.
    #[inline(always)]
    fn products<const H: usize, const N: usize>(
        w: &[Quad; 2],
        x: [&QuadOfX; N],
    ) -> [[[int32x4_t; H]; N]; 2] {
        let mut squares = [[vdupq_n_s32(0); 4]; H];
        for b in 0..4 {
            for half in 0..2 {
                // A token without a second is multiplied twice.
                let x = interleaved([x[0], x[N - 1]].map(|x| vld1q_s8(&x[half][b])));
                let square = &mut squares[half * (H - 1)][b];
                for part in 0..2 {
                    // SAFETY: this is reached through `run` only.
                    *square = unsafe { smmla(*square, vld1q_s8(&w[part][b][half]), x[part]) };
                }
            }
        }
        // From a square of rows and tokens for each block to a register of blocks for each place in the square.
        let places = squares.map(transpose);
        std::array::from_fn(|r| {
            std::array::from_fn(|n| std::array::from_fn(|h| places[h][2 * r + n]))
        })
    }
}

/// The first eight bytes of both, and the last eight of both.
#[inline(always)]
fn interleaved(pair: [int8x16_t; 2]) -> [int8x16_t; 2] {
    let [a, b] = pair.map(vreinterpretq_s64_s8);
    [vtrn1q_s64(a, b), vtrn2q_s64(a, b)].map(vreinterpretq_s8_s64)
}

// The intrinsics are not in stable Rust yet.
macro_rules! instruction {
    ($name:ident, $features:literal, $text:literal, $what:literal) => {
        #[doc = $what]
        #[inline]
        #[target_feature(enable = $features)]
        fn $name(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
            // SAFETY: works on registers only, and this function has the instruction.
            unsafe {
                asm!(
                    $text,
                    sums = inout(vreg) sums,
                    a = in(vreg) a,
                    b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }
    };
}

instruction!(
    sdot,
    "neon,dotprod",
    "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
    "Adds to each of four sums the products of four pairs of bytes."
);
instruction!(
    smmla,
    "neon,i8mm",
    "smmla {sums:v}.4s, {a:v}.16b, {b:v}.16b",
    "Adds to sum `2 i + j` the products of the `i`-th eight bytes of `a` with the `j`-th eight of `b`."
);
