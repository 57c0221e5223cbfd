//! What the caller may choose.

use crate::OutType;

/// How to convert. The output's bytes depend on `outtype` alone.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// How weights are stored.
    pub outtype: OutType,
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
            memory: 256 << 20,
            threads: 0,
            allow_requantize: false,
            force: false,
        }
    }
}
