//! AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and their successors).
//!
//! `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds fours of them to sixteen sums, two per cycle on the
//! best CPUs. Weights are the unsigned side. Byte permutes of two registers (VBMI) take any block format apart in
//! place, so the weights are multiplied as they lie in the file, with no repacking at load.
//!
//! - `unpack`: stored blocks to registers, driven by the layout table; `superblock`: the same for the K types;
//!   `arrange`: sixteen blocks in the order of the activations; `fifth`: their fifth bits.
//! - `gemv`: one token or a few, as fast as the memory delivers; `tail`: the ends of rows.
//! - `gemm`: many tokens, panels of 32 rows and register tiles of 32 x 6; `pack`: rows of blocks to panels.
//! - `pairs`: panels of F16 and BF16 weights, for many tokens: `bf16` where the CPU multiplies such numbers, else `int16`;
//!   `one`: one token.
//! - `quantize`: activations to int8. `transpose`: the shuffle both packers share.
#![expect(
    unsafe_code,
    reason = "functions with target features are called once the CPU has been asked"
)]

mod arrange;
pub(crate) mod bf16;
mod bytes;
mod fifth;
mod gemm;
mod gemv;
mod int16;
mod one;
mod pairs;
pub(crate) mod peak;
mod quantize;
mod superblock;
mod tail;
pub(crate) mod transpose;
mod unpack;
mod words;

use gristmill_tensor::DType;

use super::Level;
use crate::matmul::activations::Group;
use crate::matmul::blocks::integer_types;
use crate::matmul::gemm::TileKernel;
use crate::matmul::gemv::{FEW, few};
use crate::matmul::kernels::{Fast, Kernels, Way};
use crate::matmul::{blocks, layout};
use unpack::Stored;

/// The integer kernels for weights of `dtype`, if there are any.
pub(crate) fn kernels(dtype: DType) -> Option<Kernels> {
    macro_rules! table {
        ($($dtype:ident, $blocks:ty, $h:literal;)*) => {
            match dtype {
                $(DType::$dtype => Some(int8::<$blocks, $h>()),)*
                _ => None,
            }
        };
    }
    integer_types!(table!)
}

/// How 16-bit floats are multiplied faster, if weights of `dtype` are that.
pub(crate) fn fast(dtype: DType) -> Option<Fast> {
    let (one, many) = match dtype {
        DType::F16 => (one::way::<one::F16>(), Way::tiles::<int16::Int16<int16::F16>>()),
        DType::BF16 if bf16::is_available() => {
            (one::way::<one::Bf16>(), Way::tiles::<bf16::Bf16>())
        }
        DType::BF16 => (one::way::<one::Bf16>(), Way::tiles::<int16::Int16<int16::Bf16>>()),
        _ => return None,
    };
    Some(Fast { one, many })
}

fn int8<S: Stored<H>, const H: usize>() -> Kernels
where
    gemm::Int8<S, H>: TileKernel,
{
    let (few, many) = (few::<gemv::Few<S, H>>(), Way::tiles::<gemm::Int8<S, H>>());
    Kernels { few, n_few: FEW, many, fast: None }
}

/// Quantizes the activations of a section, or fewer at the end of a row.
pub(crate) fn quantize(x: &[f32], groups: &mut [Group]) {
    assert!(Level::Avx512.is_available());
    // SAFETY: the CPU has been asked.
    unsafe { quantize::quantize(x, groups) }
}
