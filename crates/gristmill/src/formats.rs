//! The registry of file formats, and recognizing one by its first bytes.

use std::path::Path;
use std::sync::Arc;

use gristmill_ggml::Ggml;
use gristmill_tensor::{Access, ByteSource, Format, open_source};

use crate::{Error, Result, identify};

/// Every file format, in the order in which files are tried. To add one, add its line here.
pub static FORMATS: &[&dyn Format] = &[
    &gristmill_gguf::Gguf,
    &GGML,
    #[cfg(feature = "safetensors")]
    &gristmill_safetensors::Safetensors,
    #[cfg(feature = "torch")]
    &gristmill_torch::Torch,
];

/// Legacy ggml files of every architecture.
pub(crate) static GGML: Ggml =
    Ggml::new(gristmill_arch::ggml_headers, gristmill_arch::is_ggml_tensor);

/// How much of a file the formats may look at.
pub(crate) const HEAD_BYTES: u64 = 4096;

/// Opens a file and finds out which format it is of.
///
/// # Errors
/// [`Error::Unrecognized`] saying what the file is instead of a model; [`Error::File`].
pub(crate) fn recognize(
    path: &Path,
    access: Access,
) -> Result<(Arc<dyn ByteSource>, &'static dyn Format)> {
    let source = open_source(path, access)?;
    let head = source.read(0..source.len().min(HEAD_BYTES))?;
    match FORMATS.iter().find(|format| format.detect(path, &head)) {
        Some(format) => Ok((source, *format)),
        None => {
            let what = identify::of_head(path, &head, source.len()).line();
            Err(Error::Unrecognized { path: path.into(), what })
        }
    }
}
