//! The two verbs built on [`open`](crate::open()): one call from a path to a file, or to a model that runs.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use gristmill_convert::{ConvertOptions, OutType, Report};
use gristmill_runtime::Model;
use gristmill_tensor::Access;
use gristmill_tokenizer::Tokenizer;

use crate::{OpenOptions, Result, open, open_with};

/// Converts the model at `input` to GGUF. `output` is a file, or a folder in which the file is named by the GGUF
/// naming convention. Memory stays within [`ConvertOptions::memory`], however large the model.
///
/// # Errors
/// As [`open`](crate::open()) and [`Opened::convert`](crate::Opened::convert); the output then does not exist.
pub fn convert(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &ConvertOptions,
) -> Result<Report> {
    let opening = OpenOptions { access: Access::Read, ..OpenOptions::default() };
    open_with(input, &opening)?.convert(output, options, &mut |_| ControlFlow::Continue(()))
}

/// Quantizes the model file at `input` to `outtype`: [`convert`] with the arguments in the order of
/// `llama-quantize`.
///
/// # Errors
/// As [`convert`].
pub fn quantize(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    outtype: OutType,
    options: &ConvertOptions,
) -> Result<Report> {
    convert(input, output, &ConvertOptions { outtype, ..options.clone() })
}

/// Opens the model at `path`, a GGUF file or a checkpoint's folder, ready to run.
///
/// # Errors
/// As [`open`](crate::open()); and when the model cannot be run or has no tokenizer.
pub fn load(path: impl AsRef<Path>) -> Result<(Arc<Model>, Arc<Tokenizer>)> {
    let opened = open(path)?;
    Ok((opened.model()?, opened.tokenizer()?))
}
