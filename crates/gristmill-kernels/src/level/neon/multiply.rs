//! Bytes times bytes, summed exactly in 32 bits: the one thing in which the levels differ.
#![expect(unsafe_code, reason = "instructions of a CPU that is known only at run time")]

use std::arch::asm;

use super::ops::*;
use crate::level::{AtLevel, tag};

/// Sixteen codes of each of four rows, as [`Multiply::arrange`] puts them.
pub(super) type FourRows = [[i8; 16]; 4];

/// How bytes are multiplied at one level. No weight is outside -128..=127 and no activation outside -127..=127.
pub(super) trait Multiply: AtLevel {
    /// Runs the work compiled for this level.
    ///
    /// # Panics
    /// When the CPU does not have the level.
    fn run(work: impl Work);

    /// Adds the products of sixteen pairs to the four sums, whichever to which.
    fn dot(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t;

    /// The products of [`most`](Self::most).
    const MOST: usize = 16;

    /// Adds as many products as one step can to four sums: the limit of [`products`](Self::products).
    #[inline(always)]
    fn most(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        Self::dot(sums, w, x)
    }

    /// Puts sixteen codes of each of four rows as [`products`](Self::products) wants them.
    fn arrange(rows: [int8x16_t; 4]) -> [int8x16_t; 4];

    /// The sums of a block of four rows, one in each lane, with each of `N` tokens, one or two; for `H == 2` those of
    /// its first and of its last sixteen codes. Both `w` and `x` come in those halves.
    fn products<const H: usize, const N: usize>(
        w: [&FourRows; 2],
        x: [[int8x16_t; 2]; N],
    ) -> [[int32x4_t; H]; N];
}

/// Something to do at a level. Implementations are `#[inline(always)]`, as is all they call: what is not inlined into
/// [`Multiply::run`] is compiled for the least CPU of the architecture.
pub(super) trait Work {
    /// Does it with the instructions of `M`.
    fn run<M: Multiply>(self);
}

/// Four registers of partial sums to one of whole ones.
#[inline(always)]
pub(super) fn whole([a, b, c, d]: [int32x4_t; 4]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))
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

    #[inline(always)]
    fn arrange(rows: [int8x16_t; 4]) -> [int8x16_t; 4] {
        rows
    }

    #[inline(always)]
    fn products<const H: usize, const N: usize>(
        w: [&FourRows; 2],
        x: [[int8x16_t; 2]; N],
    ) -> [[int32x4_t; H]; N] {
        let mut products = [[vdupq_n_s32(0); H]; N];
        for n in 0..N {
            let mut partial = [[vdupq_n_s32(0); 4]; H];
            for half in 0..2 {
                for r in 0..4 {
                    let sums = &mut partial[half * (H - 1)][r];
                    *sums = Self::dot(*sums, vld1q_s8(&w[half][r]), x[n][half]);
                }
            }
            products[n] = partial.map(whole);
        }
        products
    }
}

impl Multiply for tag::NeonDotprod {
    run_at!(NeonDotprod, "neon,dotprod");

    #[inline(always)]
    fn dot(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // SAFETY: this is reached through `run` only.
        unsafe { sdot(sums, w, x) }
    }

    /// Register `j` has codes `4 j .. 4 j + 4` of each row.
    #[inline(always)]
    fn arrange(rows: [int8x16_t; 4]) -> [int8x16_t; 4] {
        transpose(rows.map(vreinterpretq_s32_s8)).map(vreinterpretq_s8_s32)
    }

    /// Four codes of a token meet four codes of all rows.
    #[inline(always)]
    fn products<const H: usize, const N: usize>(
        w: [&FourRows; 2],
        x: [[int8x16_t; 2]; N],
    ) -> [[int32x4_t; H]; N] {
        let mut products = [[vdupq_n_s32(0); H]; N];
        for half in 0..2 {
            let w = w[half].map(|w| vld1q_s8(&w));
            for n in 0..N {
                let sums = &mut products[n][half * (H - 1)];
                // SAFETY: this is reached through `run` only.
                *sums = unsafe { sdot_four(*sums, w, x[n][half]) };
            }
        }
        products
    }
}

impl Multiply for tag::NeonI8mm {
    run_at!(NeonI8mm, "neon,dotprod,i8mm");
    const MOST: usize = 32;

    #[inline(always)]
    fn most(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // SAFETY: this is reached through `run` only.
        unsafe { smmla(sums, w, x) }
    }

    #[inline(always)]
    fn dot(sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // SAFETY: this is reached through `run` only.
        unsafe { sdot(sums, w, x) }
    }

    /// Two registers for two rows, one with the first eight codes of both, one with the last eight.
    #[inline(always)]
    fn arrange([a, b, c, d]: [int8x16_t; 4]) -> [int8x16_t; 4] {
        let ([a, b], [c, d]) = (interleaved(a, b), interleaved(c, d));
        [a, b, c, d]
    }

    /// Eight codes of two tokens meet eight codes of two rows.
    #[inline(always)]
    fn products<const H: usize, const N: usize>(
        w: [&FourRows; 2],
        x: [[int8x16_t; 2]; N],
    ) -> [[int32x4_t; H]; N] {
        let mut squares = [[vdupq_n_s32(0); 2]; H];
        for half in 0..2 {
            // A token without a second is multiplied twice.
            let x = interleaved(x[0][half], x[N - 1][half]);
            for pair in 0..2 {
                let square = &mut squares[half * (H - 1)][pair];
                for part in 0..2 {
                    *square = Self::most(*square, vld1q_s8(&w[half][2 * pair + part]), x[part]);
                }
            }
        }
        // The lanes of a square are two tokens of a row, then of the next.
        let tokens = squares.map(|[a, b]| [vuzp1q_s32(a, b), vuzp2q_s32(a, b)]);
        std::array::from_fn(|n| tokens.map(|tokens| tokens[n]))
    }
}

/// The first eight bytes of both, and the last eight of both.
#[inline(always)]
fn interleaved(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    let (a, b) = (vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b));
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

/// Adds to each of four sums, one for each row, the products of sixteen codes; register `j` of `w` has four of each row.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot_four(mut sums: int32x4_t, w: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
    // SAFETY: works on registers only, and this function has the instruction.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {x:v}.4b[0]",
            "sdot {sums:v}.4s, {b:v}.16b, {x:v}.4b[1]",
            "sdot {sums:v}.4s, {c:v}.16b, {x:v}.4b[2]",
            "sdot {sums:v}.4s, {d:v}.16b, {x:v}.4b[3]",
            sums = inout(vreg) sums,
            a = in(vreg) w[0],
            b = in(vreg) w[1],
            c = in(vreg) w[2],
            d = in(vreg) w[3],
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::array::from_fn;

    use super::*;
    use crate::Level;

    /// Compares all sums with plain ones, for bytes that `byte` makes of a count.
    struct Check<F>(F);

    impl<F: Fn(usize) -> i8> Work for Check<F> {
        #[inline(always)]
        fn run<M: Multiply>(self) {
            let w: [[[i8; 16]; 4]; 2] =
                from_fn(|half| from_fn(|r| from_fn(|i| self.0(half * 64 + r * 16 + i))));
            // No activation is -128.
            let x: [[[i8; 16]; 2]; 2] = from_fn(|n| {
                from_fn(|half| from_fn(|i| self.0(997 + n * 32 + half * 16 + i).max(-127)))
            });
            let plain = |r: usize, n: usize, half: usize| -> f32 {
                let products = w[half][r].iter().zip(x[n][half]);
                products.map(|(&w, x)| i32::from(w) * i32::from(x)).sum::<i32>() as f32
            };
            let arranged = w.map(|rows| {
                M::arrange(rows.map(|row| vld1q_s8(&row))).map(|row| {
                    let mut bytes = [0; 16];
                    vst1q_s8(&mut bytes, row);
                    bytes
                })
            });
            let w = [&arranged[0], &arranged[1]];
            let x = x.map(|halves| halves.map(|half| vld1q_s8(&half)));
            let (by_half, whole) = (M::products::<2, 2>(w, x), M::products::<1, 2>(w, x));
            let alone = x.map(|x| M::products::<1, 1>(w, [x])[0]);
            for (n, r) in [0, 1].into_iter().flat_map(|n| (0..4).map(move |r| (n, r))) {
                let [first, last] = [plain(r, n, 0), plain(r, n, 1)];
                assert_eq!([0, 1].map(|h| lanes(by_half[n][h])[r]), [first, last]);
                assert_eq!(lanes(whole[n][0])[r], first + last);
                assert_eq!(lanes(alone[n][0])[r], first + last);
            }
        }
    }

    fn lanes(sums: int32x4_t) -> [f32; 4] {
        let mut lanes = [0.0; 4];
        vst1q_f32(&mut lanes, vcvtq_f32_s32(sums));
        lanes
    }

    #[test]
    fn every_level_sums_exactly() {
        let bytes: [fn(usize) -> i8; 5] = [
            |_| i8::MIN,
            |_| i8::MAX,
            |i| if i < 997 { i8::MIN } else { i8::MAX },
            |i| (i * 167 + i * i * 59) as i8,
            |i| (i / 16) as i8,
        ];
        for byte in bytes {
            for level in Level::available() {
                match level {
                    Level::Neon => tag::Neon::run(Check(byte)),
                    Level::NeonDotprod => tag::NeonDotprod::run(Check(byte)),
                    Level::NeonI8mm => tag::NeonI8mm::run(Check(byte)),
                    _ => {}
                }
            }
        }
    }
}
