//! AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and their successors).
//!
//! `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds fours of them to sixteen sums, two per cycle on the
//! best CPUs. Weights are the unsigned side. Byte permutes of two registers (VBMI) take any block format apart in
//! place, so the weights are multiplied as they lie in the file, with no repacking at load.
//!
//! - `unpack`: stored blocks to registers, driven by the layout table; `superblock`: the same for the K types.
//! - `gemv`: one token, one row after the other, as fast as the memory delivers.
//! - `gemm`: many tokens, panels of 32 rows and register tiles of 32 x 6.
//! - `quantize`: activations to int8. `transpose`: the shuffle both packers share.
#![expect(
    unsafe_code,
    reason = "functions with target features are called once the CPU has been asked"
)]

mod gemm;
mod gemv;
mod quantize;
mod superblock;
pub(crate) mod transpose;
mod unpack;

use gristmill_tensor::DType;

use super::Level;
use crate::Tile;
use crate::matmul::activations::{Activations, Group};
use crate::matmul::gemm::{TileKernel, gemm as gemm_of};
use crate::matmul::kernels::{Form, Kernels, Rows};
use crate::matmul::layout;
use unpack::{Plain, Stored};

/// The integer kernels for weights of `dtype`, if there are any.
pub(crate) fn kernels(dtype: DType) -> Option<Kernels> {
    Some(match dtype {
        DType::Q4_0 => int8::<Plain<layout::Q4_0>, 1>(),
        DType::Q4_1 => int8::<Plain<layout::Q4_1>, 1>(),
        DType::Q5_0 => int8::<Plain<layout::Q5_0>, 1>(),
        DType::Q5_1 => int8::<Plain<layout::Q5_1>, 1>(),
        DType::Q8_0 => int8::<Plain<layout::Q8_0>, 1>(),
        DType::Q4_K => int8::<superblock::Q4K, 1>(),
        DType::Q5_K => int8::<superblock::Q5K, 1>(),
        DType::Q6_K => int8::<superblock::Q6K, 2>(),
        _ => return None,
    })
}

fn int8<S: Stored<H>, const H: usize>() -> Kernels
where
    gemm::Int8<S, H>: TileKernel,
{
    fn gemv<S: Stored<H>, const H: usize>(rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx512.is_available());
        let token = y.rows().start;
        // SAFETY: the CPU has been asked.
        unsafe { gemv::gemv::<S, H>(rows, x.int8_row(token), y.row_mut(token)) }
    }
    Kernels { form: Form::Int8, gemv: gemv::<S, H>, gemm: gemm_of::<gemm::Int8<S, H>> }
}

/// Quantizes a row of activations; `groups` covers it.
pub(crate) fn quantize(x: &[f32], groups: &mut [Group]) {
    assert!(Level::Avx512.is_available());
    // SAFETY: the CPU has been asked.
    unsafe { quantize::quantize(x, groups) }
}
