//! What can go wrong between a checkpoint and a model file. Every variant names the tensor and the cure.

use gristmill_tensor::DType;

/// A conversion failed; the output file does not exist.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading the checkpoint or writing the output failed.
    #[error(transparent)]
    File(#[from] gristmill_tensor::Error),
    /// The configuration or the weights do not fit the architecture.
    #[error(transparent)]
    Architecture(#[from] gristmill_arch::Error),
    /// The vocabulary cannot be stored.
    #[error(transparent)]
    Tokenizer(#[from] gristmill_tokenizer::Error),
    /// The checkpoint holds tensors that its architecture does not know. Dropping them would change the model.
    #[error(
        "{file}: {} tensors are not known to the architecture {architecture}: {}{}{hint}",
        names.len(), names.iter().take(4).cloned().collect::<Vec<_>>().join(", "),
        if names.len() > 4 { ", …" } else { "" }
    )]
    UnknownTensors {
        /// The checkpoint.
        file: String,
        /// The architecture, as `general.architecture` names it.
        architecture: &'static str,
        /// Their names.
        names: Vec<String>,
        /// Empty, or `"; "` and what they may be.
        hint: &'static str,
    },
    /// Two tensors of the checkpoint are the same weight under different spellings.
    #[error("{file}: {first} and {second} are both {name}")]
    Ambiguous {
        /// The checkpoint.
        file: String,
        /// The weight under the house's name.
        name: String,
        /// One spelling.
        first: String,
        /// The other.
        second: String,
    },
    /// A weight is stored as something that is no number of a weight.
    #[error(
        "tensor {tensor} is {dtype}, but a weight is stored as floats; if the checkpoint was quantized by another \
         tool, take the original one"
    )]
    NotAWeight {
        /// The tensor under its name in the checkpoint.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// A weight is NaN or infinite, and no block format can hold that.
    #[error(
        "tensor {tensor}: row {row}, column {column} is {value}; a weight that is not a finite number cannot be \
         stored as {target}; the checkpoint is damaged, download it again or store it as f32"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Its row.
        row: usize,
        /// The place in the row.
        column: usize,
        /// NaN or an infinity.
        value: f32,
        /// The type it should have had.
        target: DType,
    },
    /// A weight is too large for the half-precision floats of the wanted type.
    #[error(
        "tensor {tensor}: row {row}, column {column} is {value}, too large for {target}, whose floats end at 65504; \
         choose bf16 or f32"
    )]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Its row.
        row: usize,
        /// The place in the row.
        column: usize,
        /// The weight.
        value: f32,
        /// The type it should have had.
        target: DType,
    },
    /// The checkpoint is quantized already.
    #[error(
        "tensor {tensor} is {source_dtype} already; quantizing it again to {target} loses more than quantizing once: \
         start from the original, or give --allow-requantize"
    )]
    Requantize {
        /// The tensor.
        tensor: String,
        /// Its type.
        source_dtype: DType,
        /// The type it should have.
        target: DType,
    },
    /// There is no way from one type to the other.
    #[error("tensor {tensor} is {source_dtype}, which cannot be converted to {target}")]
    Unconvertible {
        /// The tensor.
        tensor: String,
        /// Its type.
        source_dtype: DType,
        /// The type it should have.
        target: DType,
    },
    /// A version of the block layouts has no such type.
    #[error(
        "tensor {tensor} would be {dtype}, which version {version} of the block layouts does not have; choose another \
         type or --quant-version 2"
    )]
    NoSuchLayout {
        /// The tensor.
        tensor: String,
        /// The type it should have.
        dtype: DType,
        /// The version.
        version: u32,
    },
    /// The loaders of a container want one type for all matrices, and one of these cannot have it.
    #[error(
        "tensor {tensor} has rows of {row_len} elements, not whole blocks of {wanted}, and programs that read such files \
         want one type for all matrices; choose f16"
    )]
    NotUniform {
        /// The tensor.
        tensor: String,
        /// Elements of a row.
        row_len: usize,
        /// The type it should have.
        wanted: DType,
    },
    /// A weight has no name in the dialect that is to be written.
    #[error("{file}: tensor {tensor} has no place in {target}; the model cannot be written as one")]
    NoPlace {
        /// The model.
        file: String,
        /// The tensor under the house's name.
        tensor: String,
        /// What was to be written.
        target: &'static str,
    },
    /// A single row needs more than the memory budget.
    #[error(
        "tensor {tensor}: one row needs {needed} bytes of memory and the budget is {budget}; raise it (--memory)"
    )]
    Memory {
        /// The tensor.
        tensor: String,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are allowed.
        budget: u64,
    },
    /// The threads could not be started.
    #[error("starting the threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// The result of a conversion.
pub type Result<T, E = Error> = std::result::Result<T, E>;
