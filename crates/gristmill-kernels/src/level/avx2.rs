//! AVX2 with FMA and F16C (Haswell, Zen and their successors), and AVX-VNNI (Alder Lake, Zen 5 and theirs).
//!
//! Registers of 32 bytes: unsigned codes are multiplied with signed activations as they are stored, and the zero is
//! corrected afterwards. The two levels share all code but the multiplication, which is one trait.
//!
//! - `multiply`: bytes times bytes at each level.
//! - `unpack`: stored blocks to registers, driven by the layout table.
//! - `gemv`: one token or a few, eight blocks of one row at a time.
//! - `gemm`: many tokens, panels of sixteen rows and register tiles of 16 x 3.
#![expect(
    unsafe_code,
    reason = "functions with target features are called once the CPU has been asked"
)]

mod gemm;
mod gemv;
mod multiply;
pub(crate) mod peak;
mod unpack;

use gristmill_tensor::DType;

use super::{Level, tag};
use crate::matmul::activations::Group;
use crate::matmul::blocks::integer_types;
use crate::matmul::gemm::TileKernel;
use crate::matmul::gemv::{FEW, few};
use crate::matmul::kernels::{Kernels, Way};
use crate::matmul::{blocks, layout};
use multiply::Multiply;
use unpack::Stored;

/// The integer kernels of one of the two levels for weights of `dtype`, if there are any.
pub(crate) fn kernels(level: Level, dtype: DType) -> Option<Kernels> {
    macro_rules! table {
        ($($dtype:ident, $blocks:ty, $h:literal;)*) => {
            match (level, dtype) {
                $(
                    (Level::AvxVnni, DType::$dtype) => Some(int8::<tag::AvxVnni, $blocks, $h>()),
                    (_, DType::$dtype) => Some(int8::<tag::Avx2, $blocks, $h>()),
                )*
                _ => None,
            }
        };
    }
    integer_types!(table!)
}

fn int8<M: Multiply, S: Stored<H>, const H: usize>() -> Kernels
where
    gemm::Int8<M, S, H>: TileKernel,
{
    let (few, many) = (few::<gemv::Few<M, S, H>>(), Way::tiles::<gemm::Int8<M, S, H>>());
    Kernels { few, n_few: FEW, many, fast: None }
}

/// Quantizes the activations of a section, or fewer at the end of a row.
pub(crate) fn quantize(x: &[f32], groups: &mut [Group]) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn quantize(x: &[f32], groups: &mut [Group]) {
        super::portable::quantize_inline(x, groups);
    }
    assert!(Level::Avx2.is_available());
    // SAFETY: the CPU has been asked.
    unsafe { quantize(x, groups) }
}
