//! No assumption about the CPU: plain code and the `wide` crate, which uses what the whole build is compiled for
//! (SSE2 on x86-64, NEON on 64-bit Arm).
//!
//! - `int8`: integer products of eight rows, multiplied as 16-bit pairs.
//! - `float`: all other types, dequantized to f32 panels of eight rows.
//!
//! A single token is a tile like any other here. The other levels are tested against this one and the plain formula.

mod float;
mod int8;

use gristmill_tensor::DType;

use crate::matmul::activations::{BLOCK, GROUP, Group, scale_and_inverse};
use crate::matmul::gemm::{TileKernel, gemm};
use crate::matmul::kernels::{Form, Kernels};
use crate::matmul::layout;

/// The kernels for weights of `dtype`.
pub(crate) fn kernels(dtype: DType) -> Kernels {
    match dtype {
        DType::Q4_0 => kernels_of::<int8::Int8<layout::Q4_0>>(Form::Int8),
        DType::Q4_1 => kernels_of::<int8::Int8<layout::Q4_1>>(Form::Int8),
        DType::Q5_0 => kernels_of::<int8::Int8<layout::Q5_0>>(Form::Int8),
        DType::Q5_1 => kernels_of::<int8::Int8<layout::Q5_1>>(Form::Int8),
        DType::Q8_0 => kernels_of::<int8::Int8<layout::Q8_0>>(Form::Int8),
        _ => kernels_of::<float::Dequantized>(Form::F32),
    }
}

fn kernels_of<K: TileKernel>(form: Form) -> Kernels {
    Kernels { form, gemv: gemm::<K>, gemm: gemm::<K> }
}

/// Quantizes a row of activations; `groups` covers it.
pub(crate) fn quantize(x: &[f32], groups: &mut [Group]) {
    for (x, group) in x.chunks(BLOCK * GROUP).zip(groups) {
        *group = Group::ZERO;
        for (b, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
            let amax = x
                .iter()
                .map(|value| value.to_bits() & 0x7fff_ffff)
                .max()
                .expect("a block is not empty");
            let (d, inverse) = scale_and_inverse(amax);
            let mut sum = 0;
            if inverse > 0.0 {
                for (i, value) in x.iter().enumerate() {
                    let code = (value * inverse).round_ties_even() as i8;
                    group.codes[b / 4][i / 16][b % 4][i % 16] = code;
                    sum += i32::from(code);
                }
            }
            group.d[b] = d;
            group.init[b] = -128 * sum;
            group.dsum[b] = d * sum as f32;
        }
    }
}
