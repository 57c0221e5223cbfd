//! Block formats: quantize and dequantize rows, byte-identical to ggml.
