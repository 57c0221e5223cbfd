//! What will be written, decided before anything is read: every tensor's type, the metadata, and what to tell the
//! user. Whatever can be refused is refused here.

use gristmill_quant::{Transcoding, transcoding};
use gristmill_tensor::{Checkpoint, DType, Metadata, TensorInfo, keys};

use crate::name;
use crate::policy::{Policy, prevailing};
use crate::{ConvertOptions, Error, Mixture, Note, OutType, Result};

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

/// What becomes of the rows of a tensor.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The bytes stay as they are.
    Copy,
    /// The codes of the blocks stay as they are; their order and the precision of their scales change.
    Transcode(&'static Transcoding),
    /// Numbers are made of the blocks, and blocks of the numbers.
    Recode,
}

impl PlannedTensor {
    /// What becomes of the rows.
    pub fn step(&self) -> Step {
        let (from, to) = (self.source.dtype, self.target.dtype);
        match transcoding(from, to) {
            _ if from == to => Step::Copy,
            Some(transcoding) => Step::Transcode(transcoding),
            None => Step::Recode,
        }
    }

    /// Whether it is known without looking that every number stays exactly as it is.
    pub fn is_exact(&self) -> bool {
        match self.step() {
            Step::Copy => true,
            Step::Transcode(transcoding) => transcoding.exact,
            // Blocks stand for products and sums that were rounded to single precision to begin with.
            Step::Recode => {
                let source = self.source.dtype;
                let narrow =
                    matches!(source, DType::F16 | DType::BF16 | DType::F8_E4M3 | DType::F8_E5M2);
                self.target.dtype == DType::F32 && (narrow || source.is_quantized())
            }
        }
    }

    /// Whether the error is measured while the tensor is written: that of weights that were quantized before, since
    /// nobody expects one.
    pub fn is_measured(&self) -> bool {
        self.source.dtype.is_quantized() && !self.is_exact()
    }
}

impl Plan {
    /// Plans the conversion of `source`, which answers in the house's names.
    ///
    /// # Errors
    /// [`Error::Requantize`], [`Error::Unconvertible`], and whatever is wrong with the metadata.
    pub fn new(source: &dyn Checkpoint, options: &ConvertOptions) -> Result<Plan> {
        let &ConvertOptions { outtype, quant_version, .. } = options;
        let policy = Policy::new(source, options)?;
        let mut notes = Vec::new();
        let mut tensors = Vec::with_capacity(source.tensors().len());
        for info in source.tensors() {
            let (dtype, note) = policy.dtype(info);
            let uniform =
                matches!(options.mixture, Mixture::Uniform | Mixture::UniformButEmbedding);
            if let (true, Some(Note::RowNotWholeBlocks { tensor, row_len, wanted, .. })) =
                (uniform, &note)
            {
                let (tensor, row_len, wanted) = (tensor.clone(), *row_len, *wanted);
                return Err(Error::NotUniform { tensor, row_len, wanted });
            }
            notes.extend(note);
            let dtype = dtype.at_version(quant_version).ok_or_else(|| Error::NoSuchLayout {
                tensor: info.name.clone(),
                dtype,
                version: quant_version,
            })?;
            check(info, dtype, options)?;
            let target = TensorInfo { dtype, ..info.clone() };
            tensors.push(PlannedTensor { source: info.clone(), target });
        }

        let mut metadata = source.metadata().clone();
        if !metadata.contains(keys::TOKENIZER_MODEL) {
            notes.push(Note::NoVocabulary);
        }
        let encoding = outtype.dtype().or_else(|| encoding_of(&tensors));
        let told = metadata.get_u32(keys::FILE_TYPE).ok().flatten();
        let file_type = outtype.file_type().or_else(|| OutType::of(encoding?, told)?.file_type());
        if let Some(file_type) = file_type {
            metadata.set(keys::FILE_TYPE, file_type);
        }
        metadata.set(keys::QUANTIZATION_VERSION, quant_version);
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

    /// The name that the GGUF naming convention gives the file, without its suffix: `tale-gptj-4M-Q4_0`.
    pub fn file_stem(&self) -> String {
        let copied = encoding_of(&self.tensors).filter(|_| self.outtype == OutType::COPY);
        name::file_stem(&self.metadata, copied.map_or(self.outtype.name(), DType::name))
    }
}

/// The type of most weights, as today's layouts call it.
fn encoding_of(tensors: &[PlannedTensor]) -> Option<DType> {
    let today = |dtype: DType| dtype.successor().unwrap_or(dtype);
    let targets = tensors.iter().map(|tensor| &tensor.target);
    prevailing(targets.map(|info| (today(info.dtype), info.shape.numel())))
}

/// Refuses what cannot or should not be converted.
fn check(info: &TensorInfo, target: DType, options: &ConvertOptions) -> Result<()> {
    if info.dtype == target || transcoding(info.dtype, target).is_some() {
        return Ok(());
    }
    let (tensor, source_dtype) = (info.name.clone(), info.dtype);
    // A copy takes another type only where there is no other way.
    let allowed = options.allow_requantize || options.outtype == OutType::COPY;
    if info.dtype.is_quantized() && target.is_quantized() && !allowed {
        return Err(Error::Requantize { tensor, source_dtype, target });
    }
    let readable = gristmill_quant::codec(info.dtype).is_some();
    let writable = gristmill_quant::codec(target).is_some_and(|codec| codec.quantize.is_some());
    if !(readable && writable) {
        return Err(Error::Unconvertible { tensor, source_dtype, target });
    }
    Ok(())
}
