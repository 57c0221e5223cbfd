//! An opened safetensors file: the header in memory, the tensors read when asked for.
//!
//! Nothing in the format aligns tensors, so their bytes may begin anywhere; readers of numbers must not assume more.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{
    Access, ByteSource, Bytes, Checkpoint, Limits, Metadata, Result, StoredTensors, TensorIndex,
    open_source,
};

use crate::FORMAT;
use crate::header::Header;

/// One safetensors file, opened for reading.
///
/// Its [`metadata`](Checkpoint::metadata) are the file's own texts, under keys that begin with `safetensors.`
/// (`safetensors.format` is usually `pt`).
pub struct Reader {
    metadata: Metadata,
    tensors: StoredTensors,
}

impl Reader {
    /// Maps the file at `path` and opens it with the default limits.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Io`](gristmill_tensor::Error::Io).
    pub fn open(path: &Path) -> Result<Reader> {
        Reader::new(open_source(path, Access::Map)?, &Limits::default())
    }

    /// Reads and checks the header of `source`.
    ///
    /// # Errors
    /// [`Malformed`](gristmill_tensor::Error::Malformed) for whatever breaks the format's rules,
    /// [`Limit`](gristmill_tensor::Error::Limit) for what exceeds `limits`,
    /// [`Unsupported`](gristmill_tensor::Error::Unsupported) for tensors of a type that cannot be read.
    pub fn new(source: Arc<dyn ByteSource>, limits: &Limits) -> Result<Reader> {
        let Header { metadata, tensors } = Header::read(&*source, limits)?;
        Ok(Reader { metadata, tensors: StoredTensors::new(source, FORMAT, tensors)? })
    }

    /// Where the data of the tensor called `name` stands, in bytes from the start of the file.
    pub fn byte_range(&self, name: &str) -> Option<Range<u64>> {
        self.tensors.byte_range(name)
    }
}

impl Checkpoint for Reader {
    fn format(&self) -> String {
        FORMAT.into()
    }

    fn name(&self) -> String {
        self.tensors.source().name()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn index(&self) -> &TensorIndex {
        self.tensors.index()
    }

    fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes> {
        self.tensors.read_rows(position, rows)
    }
}
