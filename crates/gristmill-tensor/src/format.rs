//! A registry entry: how one family of model files is recognised, opened and created.

use std::path::Path;
use std::sync::Arc;

use crate::{AtomicFile, ByteSource, Checkpoint, Error, Limits, Metadata, Result, TensorInfo};

/// What a reader may need besides the bytes.
#[derive(Clone, Debug, Default)]
pub struct OpenContext {
    /// The budget.
    pub limits: Limits,
    /// The architecture, as `general.architecture` names it, for files that do not say it and could be several.
    pub architecture: Option<String>,
}

/// All that stands in front of the tensor data of a model file.
#[derive(Clone, Copy, Debug)]
pub struct ModelHeader<'a> {
    /// Metadata under GGUF's keys.
    pub metadata: &'a Metadata,
    /// Every tensor, in the order in which it is to be stored.
    pub tensors: &'a [TensorInfo],
}

/// One family of model files.
pub trait Format: Sync {
    /// The name, as users write it: `"GGUF"`.
    fn name(&self) -> &'static str;

    /// What the names of its files end with, without the dot.
    fn suffix(&self) -> &'static str;

    /// Whether a file that begins with `head` (its first 4 KiB, or all of it) is one of these. Decided by content;
    /// the path's suffix only breaks ties.
    fn detect(&self, path: &Path, head: &[u8]) -> bool;

    /// Opens one file.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        context: &OpenContext,
    ) -> Result<Box<dyn Checkpoint>>;

    /// Begins a file. The whole header is given at once, so that every offset is known before the first slab.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for formats that are only read; whatever writing gives.
    fn create(&self, file: AtomicFile, header: &ModelHeader<'_>) -> Result<Box<dyn TensorSink>> {
        let _ = header;
        Err(Error::unsupported(
            file.target().display().to_string(),
            self.name(),
            "files of this format are read but not written",
        ))
    }
}

/// Where the tensors of a new file go. Slabs may come in any order, from several threads.
pub trait TensorSink: Send + Sync {
    /// Writes `slab` at `offset` bytes into the data of the tensor at position `tensor` of the header.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn write(&self, tensor: usize, offset: u64, slab: &[u8]) -> Result<()>;

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Exists`].
    fn finish(self: Box<Self>) -> Result<()>;
}
