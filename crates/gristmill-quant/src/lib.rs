//! Block formats: what the bytes of a stored weight mean, and how they are made.
//!
//! A quantized row is a run of blocks. Each block holds a fixed number of elements as small integer codes and the
//! scales they share; one file of this crate per format opens with its picture and its formula.
//!
//! ```text
//! f32 values ─quantize─▶ blocks (bytes in the file) ─dequantize─▶ f32 values
//! 32 × 4 bytes           Q4_0: f16 d │ 16 bytes of nibbles         code × d
//! ```
//!
//! The bytes are those of ggml's reference quantizers, bit for bit, on every machine: the arithmetic is `f32` in a
//! fixed order and without fused multiply-adds, and nothing that depends on the CPU can change a result.
//!
//! ```
//! use gristmill_quant::codec;
//! use gristmill_tensor::DType;
//!
//! let q4_0 = codec(DType::Q4_0).expect("Q4_0 is in the table");
//! let values: Vec<f32> = (0..32).map(|i| i as f32 - 16.0).collect();
//! let mut block = [0u8; 18];
//! (q4_0.quantize.expect("Q4_0 can be made"))(&values, &mut block);
//!
//! let mut restored = [0f32; 32];
//! (q4_0.dequantize)(&block, &mut restored);
//! assert_eq!(restored[..4], [-16.0, -14.0, -14.0, -12.0]);
//! ```
//!
//! Reading order: `codec` (the table), `block` (the traits), `float` (plain numbers), `scale` and `pack` (what the
//! small formats share), then the formats from [`Q8_0`] over [`Q4_0`] and [`Q5_1`] to the 256-element ones; `legacy` (what they were until
//! May 2023); `check`
//! and `stats` judge values before and after.

mod affine;
mod block;
mod check;
mod codebook;
mod codec;
mod float;
mod iq4_nl;
mod iq4_xs;
mod lanes;
mod legacy;
mod level;
mod mxfp4;
mod pack;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod q8_1;
mod q8_k;
mod scale;
mod signed;
mod six_bit;
mod stats;

pub use block::{BlockFormat, Quantize};
pub use check::{overflows_f16, unfit_for_blocks};
pub use codec::{CODECS, Codec, DequantizeFn, QuantizeFn, codec};
pub use iq4_nl::IQ4_NL;
pub use iq4_xs::IQ4_XS;
pub use legacy::{Transcoding, transcoding};
pub use mxfp4::MXFP4;
pub use q2_k::Q2_K;
pub use q3_k::Q3_K;
pub use q4_0::Q4_0;
pub use q4_1::Q4_1;
pub use q4_k::Q4_K;
pub use q5_0::Q5_0;
pub use q5_1::Q5_1;
pub use q5_k::Q5_K;
pub use q6_k::Q6_K;
pub use q8_0::Q8_0;
pub use q8_1::Q8_1;
pub use q8_k::Q8_K;
pub use stats::ErrorStats;
