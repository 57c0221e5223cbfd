//! No assumption about the CPU: plain code and the `wide` crate, which uses what the whole build is compiled for
//! (SSE2 on x86-64, NEON on 64-bit Arm).
//!
//! `int8` has the integer products: eight rows at a time, multiplied as 16-bit pairs.
//! A single token is a tile like any other here. The other levels are tested against this one and the plain formula.

mod int8;

use gristmill_tensor::DType;

use crate::matmul::activations::{BLOCK, GROUP, Group, scale_and_inverse};
use crate::matmul::gemm::gemm;
use crate::matmul::kernels::{Form, Kernel, Kernels};
use crate::matmul::layout;

/// The integer kernels for weights of `dtype`, if there are any.
pub(crate) fn kernels(dtype: DType) -> Option<Kernels> {
    let kernel: Kernel = match dtype {
        DType::Q4_0 => gemm::<int8::Int8<layout::Q4_0>>,
        DType::Q4_1 => gemm::<int8::Int8<layout::Q4_1>>,
        DType::Q5_0 => gemm::<int8::Int8<layout::Q5_0>>,
        DType::Q5_1 => gemm::<int8::Int8<layout::Q5_1>>,
        DType::Q8_0 => gemm::<int8::Int8<layout::Q8_0>>,
        _ => return None,
    };
    Some(Kernels { form: Form::Int8, gemv: kernel, gemm: kernel })
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
