//! Stands for gristmill-quant until its table of codecs is there.
pub(crate) struct Codec { pub dequantize: fn(&[u8], &mut [f32]) }
pub(crate) fn codec(_: gristmill_tensor::DType) -> Option<&'static Codec> { None }
