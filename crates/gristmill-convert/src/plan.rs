//! What will be written, decided before anything is read: every tensor's type, the metadata, and what to tell the
//! user. Whatever can be refused is refused here.

use gristmill_tensor::{Checkpoint, DType, Metadata, TensorInfo, keys};

use crate::name;
use crate::policy::Policy;
use crate::{ConvertOptions, Error, Note, OutType, Result};

/// The version of the block layouts, which `general.quantization_version` states. It has been 2 since May 2023.
const QUANTIZATION_VERSION: u32 = 2;

/// A conversion that can be carried out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was asked for.
    pub outtype: OutType,
    /// The metadata of the output.
    pub metadata: Metadata,
    /// The tensors in the order of the output.
    pub tensors: Vec<PlannedTensor>,
    /// What the user should know.
    pub notes: Vec<Note>,
}

/// A tensor as it is and as it will be stored. Name and shape are the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedTensor {
    /// As the checkpoint gives it.
    pub source: TensorInfo,
    /// As it will be stored.
    pub target: TensorInfo,
}

impl PlannedTensor {
    /// Whether the bytes stay as they are.
    pub fn is_copy(&self) -> bool {
        self.source.dtype == self.target.dtype
    }

    /// Whether every number stays exactly as it is.
    pub fn is_lossless(&self) -> bool {
        let widened = matches!(
            (self.source.dtype, self.target.dtype),
            (DType::F16 | DType::BF16 | DType::F8_E4M3 | DType::F8_E5M2, DType::F32)
        );
        self.is_copy() || widened
    }
}

impl Plan {
    /// Plans the conversion of `source`, which answers in the house's names.
    ///
    /// # Errors
    /// [`Error::Requantize`], [`Error::Unconvertible`], and whatever is wrong with the metadata.
    pub fn new(source: &dyn Checkpoint, options: &ConvertOptions) -> Result<Plan> {
        let outtype = options.outtype;
        let policy = Policy::new(source, outtype)?;
        let mut notes = Vec::new();
        let mut tensors = Vec::with_capacity(source.tensors().len());
        for info in source.tensors() {
            let (dtype, note) = policy.dtype(info);
            notes.extend(note);
            check(info, dtype, options)?;
            let target = TensorInfo { dtype, ..info.clone() };
            tensors.push(PlannedTensor { source: info.clone(), target });
        }

        let mut metadata = source.metadata().clone();
        if !metadata.contains(keys::TOKENIZER_MODEL) {
            notes.push(Note::NoVocabulary);
        }
        metadata.set(keys::FILE_TYPE, outtype.file_type());
        metadata.set(keys::QUANTIZATION_VERSION, QUANTIZATION_VERSION);
        name::complete(&mut metadata, source.tensors());
        Ok(Plan { outtype, metadata, tensors, notes })
    }

    /// The tensors as they will be stored.
    pub fn targets(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().map(|tensor| &tensor.target)
    }

    /// Bytes of tensor data to read.
    pub fn bytes_in(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.source.n_bytes()).sum()
    }

    /// Bytes of tensor data to write.
    pub fn bytes_out(&self) -> u64 {
        self.targets().map(TensorInfo::n_bytes).sum()
    }

    /// The name that the GGUF naming convention gives the file: `tale-gptj-4M-Q4_0.gguf`.
    pub fn file_name(&self) -> String {
        name::file_name(&self.metadata, self.outtype)
    }
}

/// Refuses what cannot or should not be converted.
fn check(info: &TensorInfo, target: DType, options: &ConvertOptions) -> Result<()> {
    if info.dtype == target {
        return Ok(());
    }
    if info.dtype.is_quantized() && target.is_quantized() && !options.allow_requantize {
        return Err(Error::Requantize {
            tensor: info.name.clone(),
            source_dtype: info.dtype,
            target,
        });
    }
    let readable = gristmill_quant::codec(info.dtype).is_some();
    let writable = gristmill_quant::codec(target).is_some_and(|codec| codec.quantize.is_some());
    if !(readable && writable) {
        return Err(Error::Unconvertible {
            tensor: info.name.clone(),
            source_dtype: info.dtype,
            target,
        });
    }
    Ok(())
}
