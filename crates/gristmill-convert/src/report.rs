//! What a conversion tells while it runs, and what it did.

use std::fmt;
use std::path::PathBuf;

use gristmill_quant::ErrorStats;
use gristmill_tensor::{DType, TensorInfo};

use crate::OutType;
use crate::plan::Plan;

/// What happens during a conversion, in this order: once `Planned`, then `Written` after every slab.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Everything was checked that can be checked without reading weights; writing begins.
    Planned(&'a Plan),
    /// Some rows were written.
    Written {
        /// The tensor they belong to, as it is stored in the output.
        tensor: &'a TensorInfo,
        /// Bytes of tensor data written so far.
        written: u64,
        /// Bytes of tensor data in all.
        total: u64,
    },
}

/// Something the user should know, though nothing is wrong.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Note {
    /// A tensor's rows are not whole blocks of the wanted type.
    RowNotWholeBlocks {
        /// The tensor.
        tensor: String,
        /// Elements of a row.
        row_len: usize,
        /// The type it should have had.
        wanted: DType,
        /// The type it has.
        stored: DType,
    },
    /// The output matrix is stored more exactly than the rest.
    ExactOutput {
        /// The tensor.
        tensor: String,
        /// The type it has.
        stored: DType,
    },
    /// The output matrix is the embedding once more and was left out.
    TiedOutput {
        /// Its name in the checkpoint.
        tensor: String,
    },
    /// Tensors that are no weights (masks, tables of frequencies) were left out.
    Ignored {
        /// How many.
        count: usize,
        /// The first one's name in the checkpoint.
        example: String,
    },
    /// The file has no vocabulary.
    NoVocabulary,
    /// A folder for Transformers has no tokenizer.
    NoTokenizerFiles {
        /// What is wrong with the model's.
        why: String,
    },
    /// The tokenizer has something to say.
    Tokenizer(gristmill_tokenizer::Note),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::RowNotWholeBlocks { tensor, row_len, wanted, stored } => {
                let block = wanted.block_len();
                write!(
                    f,
                    "{tensor} is stored as {stored}: its rows of {row_len} are not blocks of {block}"
                )
            }
            Note::ExactOutput { tensor, stored } => {
                write!(f, "{tensor} is stored as {stored}: the logits depend on it most")
            }
            Note::TiedOutput { tensor } => {
                write!(f, "{tensor} is left out: it is the same matrix as the embedding")
            }
            Note::Ignored { count: 1, example } => {
                write!(f, "{example} is left out: it is not a weight")
            }
            Note::Ignored { count, example } => {
                write!(f, "{count} tensors are left out that are not weights: {example}, …")
            }
            Note::NoVocabulary => {
                f.write_str("the file has no vocabulary: it can be run on token ids only")
            }
            Note::NoTokenizerFiles { why } => {
                write!(f, "the folder has no tokenizer, so only token ids can be fed: {why}")
            }
            Note::Tokenizer(note) => note.fmt(f),
        }
    }
}

/// How much of a file is stored in one type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The type.
    pub dtype: DType,
    /// Tensors of this type.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A tensor that was quantized before and whose numbers are not exactly what they were.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The tensor, as it was.
    pub source: TensorInfo,
    /// The type it has now.
    pub stored: DType,
    /// The measured error.
    pub error: ErrorStats,
}

impl fmt::Display for Change {
    /// `blk.0.ffn_up.weight: Q4_1_V0 became Q4_1, error 0.012 % (at most 0.0003)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { source, stored, error } = self;
        let percent = 100.0 * error.rmse() / error.rms().max(f64::MIN_POSITIVE);
        let (name, was) = (&source.name, source.dtype);
        write!(
            f,
            "{name}: {was} became {stored}, error {percent:.2} % (at most {:.2e})",
            error.max()
        )
    }
}

/// What a conversion did.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The file that was written.
    pub output: PathBuf,
    /// What was asked for.
    pub outtype: OutType,
    /// The types in the file, the largest share first.
    pub tallies: Vec<Tally>,
    /// Tensors in the file.
    pub tensors: usize,
    /// Of these, how many hold exactly the numbers of the checkpoint.
    pub lossless: usize,
    /// Tensors that were quantized before and lost something, with the measured error.
    pub changes: Vec<Change>,
    /// Bytes of tensor data that were read.
    pub bytes_in: u64,
    /// Bytes of tensor data that were written.
    pub bytes_out: u64,
    /// What the user should know.
    pub notes: Vec<Note>,
}

impl Report {
    /// The report on `plan`, carried out into `output`,
    /// with what was measured on the way, tensor by tensor.
    pub(crate) fn new(plan: Plan, output: PathBuf, measured: &[ErrorStats]) -> Report {
        let changed = |&(position, _): &(usize, _)| measured[position].max() > 0.0;
        let tensors = || plan.tensors.iter().enumerate();
        let changes: Vec<Change> = tensors()
            .filter(changed)
            .map(|(position, tensor)| Change {
                source: tensor.source.clone(),
                stored: tensor.target.dtype,
                error: measured[position],
            })
            .collect();
        let lossless = tensors()
            .filter(|(_, tensor)| tensor.is_exact() || tensor.is_measured())
            .filter(|tensor| !changed(tensor))
            .count();
        let mut tallies: Vec<Tally> = Vec::new();
        for TensorInfo { dtype, .. } in plan.targets() {
            if !tallies.iter().any(|tally| tally.dtype == *dtype) {
                let same = || plan.targets().filter(|info| info.dtype == *dtype);
                let bytes = same().map(TensorInfo::n_bytes).sum();
                tallies.push(Tally { dtype: *dtype, tensors: same().count(), bytes });
            }
        }
        tallies.sort_by_key(|tally| std::cmp::Reverse(tally.bytes));
        Report {
            output,
            outtype: plan.outtype,
            tallies,
            tensors: plan.tensors.len(),
            lossless,
            changes,
            bytes_in: plan.bytes_in(),
            bytes_out: plan.bytes_out(),
            notes: plan.notes,
        }
    }
}
