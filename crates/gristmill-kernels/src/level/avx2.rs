//! AVX2 with FMA and F16C (Haswell, Zen and their successors): integer products without VNNI.
//!
//! `vpmaddubsw` multiplies 32 unsigned by 32 signed bytes and adds pairs to 16-bit sums, which saturate. With 4-bit
//! codes eight such sums fit 16 bits, with 5-bit codes four, before `vpmaddwd` widens them; so the stored, unsigned
//! codes are multiplied as they are and the zero is corrected afterwards. 8-bit codes would saturate at once: there
//! the magnitudes of the weights meet activations that have been given the weights' signs.
//!
//! - `unpack`: stored blocks to registers, driven by the layout table.
//! - `gemv`: one token, eight blocks of one row at a time.
//! - `gemm`: many tokens, panels of sixteen rows and register tiles of 16 x 4.
#![expect(
    unsafe_code,
    reason = "functions with target features are called once the CPU has been asked"
)]

mod gemm;
mod gemv;
mod unpack;

use gristmill_tensor::DType;

use super::Level;
use crate::Tile;
use crate::matmul::activations::{Activations, Group};
use crate::matmul::gemm::gemm as gemm_of;
use crate::matmul::kernels::{Form, Kernels, Rows};
use crate::matmul::layout::{self, Layout};

/// The integer kernels for weights of `dtype`, if there are any.
pub(crate) fn kernels(dtype: DType) -> Option<Kernels> {
    Some(match dtype {
        DType::Q4_0 => int8::<layout::Q4_0>(),
        DType::Q4_1 => int8::<layout::Q4_1>(),
        DType::Q5_0 => int8::<layout::Q5_0>(),
        DType::Q5_1 => int8::<layout::Q5_1>(),
        DType::Q8_0 => int8::<layout::Q8_0>(),
        _ => return None,
    })
}

fn int8<L: Layout>() -> Kernels {
    fn gemv<L: Layout>(rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx2.is_available());
        let token = y.rows().start;
        // SAFETY: the CPU has been asked.
        unsafe { gemv::gemv::<L>(rows, x.int8_row(token), y.row_mut(token)) }
    }
    Kernels { form: Form::Int8, gemv: gemv::<L>, gemm: gemm_of::<gemm::Int8<L>> }
}

/// Quantizes a row of activations; `groups` covers it.
pub(crate) fn quantize(x: &[f32], groups: &mut [Group]) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn quantize(x: &[f32], groups: &mut [Group]) {
        super::portable::quantize_inline(x, groups);
    }
    assert!(Level::Avx2.is_available());
    // SAFETY: the CPU has been asked.
    unsafe { quantize(x, groups) }
}
