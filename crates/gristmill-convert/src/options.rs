//! What the caller may choose.

use crate::OutType;

/// Today's version of the block layouts, since May 2023.
pub(crate) const QUANT_VERSION: u32 = 2;

/// How the types of a file's tensors go together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mixture {
    /// As llama.cpp's tools have it: vectors are F32, the output matrix is finer than the rest.
    #[default]
    Fine,
    /// Vectors are F32 and all matrices of one type, which is what the loaders of 2023 reckon with.
    Uniform,
    /// The same, but the embedding is F32: GPT4All's MPT.
    UniformButEmbedding,
    /// Everything is of one type, vectors too: Hugging Face's checkpoints.
    Plain,
}

/// How to convert. The output's bytes depend on `outtype`, `mixture` and `quant_version` alone.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// How weights are stored.
    pub outtype: OutType,
    /// Which tensors are given another type than the one asked for.
    pub mixture: Mixture,
    /// The version of the block layouts: 2 for today's, 1 for those of 12 to 19 May 2023, 0 for those before.
    pub quant_version: u32,
    /// Bytes of memory for tensor data in work, over all threads.
    pub memory: u64,
    /// Threads; 0 for one per core.
    pub threads: usize,
    /// Quantize tensors again that are quantized already. It loses more than quantizing once.
    pub allow_requantize: bool,
    /// Replace an existing output.
    pub force: bool,
}

impl Default for ConvertOptions {
    /// F16 in 256 MiB on every core; nothing is overwritten.
    fn default() -> ConvertOptions {
        ConvertOptions {
            outtype: OutType::default(),
            mixture: Mixture::default(),
            quant_version: QUANT_VERSION,
            memory: 256 << 20,
            threads: 0,
            allow_requantize: false,
            force: false,
        }
    }
}
