//! AVX2 with FMA and F16C (Haswell, Zen and their successors): integer products without VNNI.
//!
//! `vpmaddubsw` multiplies 32 unsigned by 32 signed bytes and adds pairs to 16-bit sums, which saturate. With 4-bit
//! codes eight such sums fit 16 bits, with 5-bit codes four, before `vpmaddwd` widens them; so the stored, unsigned
//! codes are multiplied as they are and the zero is corrected afterwards. 8-bit codes would saturate at once: there
//! the magnitudes of the weights meet activations that have been given the weights' signs.
//!
//! - `unpack`: stored blocks to registers, driven by the layout table.
//! - `gemv`: one token, eight blocks of one row at a time.
//! - `gemm`: many tokens, panels of sixteen rows and register tiles of 16 x 2.
#![expect(
    unsafe_code,
    reason = "functions with target features are called once the CPU has been asked"
)]

mod gemm;
mod gemv;
pub(crate) mod peak;
mod unpack;

use gristmill_tensor::DType;

use super::Level;
use crate::Tile;
use crate::matmul::activations::{Activations, Group};
use crate::matmul::blocks::integer_types;
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::{Form, Kernels, Rows, Way};
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

fn int8<S: Stored<H>, const H: usize>() -> Kernels
where
    gemm::Int8<S, H>: TileKernel,
{
    fn gemv<S: Stored<H>, const H: usize>(rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx2.is_available());
        let token = y.rows().start;
        // SAFETY: the CPU has been asked.
        unsafe { gemv::gemv::<S, H>(rows, x.groups(), y.row_mut(token)) }
    }
    let one = Way { kernel: gemv::<S, H>, form: Form::Int8, tiles: None };
    Kernels { few: one, n_few: 1, many: Way::tiles::<gemm::Int8<S, H>>(), fast: None }
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
