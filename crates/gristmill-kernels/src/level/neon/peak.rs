//! A loop over one instruction, for the roofline.

use std::hint::black_box;

use super::multiply::{Multiply, Work};
use super::ops::{vdupq_n_s8, vdupq_n_s32};
use crate::level::{Level, tag};
use crate::roofline::CHAINS;

/// A loop of `CHAINS` times so many multiplications of bytes, and how many products each is.
pub(crate) fn int8(level: Level) -> (fn(usize), usize) {
    fn of<M: Multiply>() -> (fn(usize), usize) {
        (|repeats| M::run(Chains { repeats }), M::MOST)
    }
    match level {
        Level::NeonI8mm => of::<tag::NeonI8mm>(),
        Level::NeonDotprod => of::<tag::NeonDotprod>(),
        _ => of::<tag::Neon>(),
    }
}

struct Chains {
    repeats: usize,
}

impl Work for Chains {
    #[inline(always)]
    fn run<M: Multiply>(self) {
        let (factor, zero) = black_box((vdupq_n_s8(1), vdupq_n_s32(0)));
        let mut sums = [zero; CHAINS];
        for _ in 0..self.repeats {
            for sum in &mut sums {
                *sum = M::most(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
}
