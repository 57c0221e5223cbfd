//! No assumption about the CPU: plain code and the `wide` crate, which uses what the whole build is compiled for
//! (SSE2 on x86-64, NEON on 64-bit Arm).
//!
//! `int8` has the integer products: eight rows at a time, multiplied as 16-bit pairs.
//! A single token is a tile like any other here. The other levels are tested against this one and the plain formula.

mod int8;
pub(crate) mod peak;

use gristmill_tensor::DType;

use crate::matmul::activations::{BLOCK, GROUP, Group, scale_and_inverse};
use crate::matmul::blocks::integer_types;
use crate::matmul::columns::nearest;
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::{Kernels, Way};
use crate::matmul::{blocks, layout};

/// The integer kernels for weights of `dtype`, if there are any.
pub(crate) fn kernels(dtype: DType) -> Option<Kernels> {
    macro_rules! table {
        ($($dtype:ident, $blocks:ty, $h:literal;)*) => {
            match dtype {
                $(DType::$dtype => Some(int8::<int8::Int8<$blocks, $h>>()),)*
                _ => None,
            }
        };
    }
    integer_types!(table!)
}

fn int8<K: TileKernel>() -> Kernels {
    let way = Way::tiles::<K>();
    Kernels { few: way, n_few: 1, many: way, fast: None }
}

/// Quantizes the activations of a section, or fewer at the end of a row.
pub(crate) fn quantize(x: &[f32], groups: &mut [Group]) {
    quantize_inline(x, groups);
}

/// [`quantize`], to be compiled for another level.
#[inline(always)]
pub(crate) fn quantize_inline(x: &[f32], groups: &mut [Group]) {
    let blocks = x.as_chunks::<BLOCK>().0;
    let mut amax = [0; GROUP];
    for (b, x) in blocks.iter().enumerate() {
        let amax = &mut amax[b % GROUP];
        *amax = x.iter().fold(*amax, |max, value| max.max(value.to_bits() & 0x7fff_ffff));
    }
    for (group, blocks) in groups.iter_mut().zip(blocks.chunks(GROUP)) {
        *group = Group::ZERO;
        for b in 0..GROUP {
            let (d, inverse) = scale_and_inverse(amax[b], 127.0);
            group.d[b] = d;
            let Some(x) = blocks.get(b).filter(|_| inverse > 0.0) else { continue };
            let mut sum = 0;
            for half in 0..2 {
                let codes = &mut group.codes[b / 4][half][b % 4];
                for (code, value) in codes.iter_mut().zip(&x[16 * half..]) {
                    *code = nearest(value * inverse) as i8;
                    sum += i32::from(*code);
                }
                if half == 0 {
                    group.init_first[b] = -128 * sum;
                }
            }
            group.init[b] = -128 * sum;
            group.sum[b] = sum as f32;
        }
    }
}
