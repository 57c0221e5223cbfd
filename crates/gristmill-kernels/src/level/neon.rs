//! 64-bit Arm: NEON, with the dot products of Armv8.2 and the 2 x 2 products of Armv8.6 where the CPU has them.
//!
//! Bytes are multiplied signed by signed, so codes are unpacked less their zero and nothing is corrected afterwards.
//! Four exact sums stand in four lanes, which one fused multiplication scales. The three levels differ in one trait.
//!
//! - `ops`: the instructions that are always there, as safe functions.
//! - `multiply`: bytes times bytes at each level.
//! - `peak`: that alone, for the roofline.
//! - `unpack`: stored blocks to registers, driven by the layout table; `superblock`: the same for the K types.
//! - `gemv`: one token, one row after the other, four blocks in the lanes.
//! - `gemm`: many tokens, panels of eight rows, four of them in the lanes, and register tiles of 8 x 4.

mod gemm;
mod gemv;
mod multiply;
pub(crate) mod ops;
pub(crate) mod peak;
mod superblock;
mod unpack;

use std::marker::PhantomData;

use gristmill_tensor::DType;

use super::{Level, tag};
use crate::Tile;
use crate::matmul::activations::Activations;
use crate::matmul::blocks::integer_types;
use crate::matmul::kernels::{Form, Kernels, Rows, Way};
use crate::matmul::{blocks, layout};
use multiply::Multiply;
use ops::*;
use unpack::Stored;

/// In how many chains the blocks of a row are summed.
const CHAINS: usize = 8;

/// The integer kernels of one of these levels for weights of `dtype`, if there are any.
pub(crate) fn kernels(level: Level, dtype: DType) -> Option<Kernels> {
    macro_rules! table {
        ($($dtype:ident, $blocks:ty, $h:literal;)*) => {
            match dtype {
                $(DType::$dtype => Some(int8::<$blocks, $h>(level)),)*
                _ => None,
            }
        };
    }
    integer_types!(table!)
}

fn int8<S: Stored<H>, const H: usize>(level: Level) -> Kernels {
    fn gemv<M: Multiply, S: Stored<H>, const H: usize>(
        rows: &Rows<'_>,
        x: &Activations,
        y: &mut Tile<'_, f32>,
    ) {
        let token = y.rows().start;
        let (x, y) = (x.groups(), y.row_mut(token));
        M::run(gemv::Gemv::<S, H> { rows, x, y, stored: PhantomData });
    }
    fn at<M: Multiply, S: Stored<H>, const H: usize>() -> Kernels {
        let one = Way { kernel: gemv::<M, S, H>, form: Form::Int8, tiles: None };
        Kernels { few: one, n_few: 1, many: Way::tiles::<gemm::Int8<M, S, H>>(), fast: None }
    }
    match level {
        Level::NeonI8mm => at::<tag::NeonI8mm, S, H>(),
        Level::NeonDotprod => at::<tag::NeonDotprod, S, H>(),
        _ => at::<tag::Neon, S, H>(),
    }
}

/// Adds four exact sums times their scales, and minima times sums of activations, if there are any.
#[inline(always)]
fn add_scaled(
    sums: float32x4_t,
    products: int32x4_t,
    scale: float32x4_t,
    minima: Option<(float32x4_t, float32x4_t)>,
) -> float32x4_t {
    let sums = vfmaq_f32(sums, vcvtq_f32_s32(products), scale);
    match minima {
        Some((m, sum_of_x)) => vfmaq_f32(sums, m, sum_of_x),
        None => sums,
    }
}
