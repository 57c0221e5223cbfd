//! An opened GGUF file: the header in memory, the tensors read when asked for.
//!
//! Rows come as slices of the source, without a copy when it is a mapping. Only big-endian files are copied, because
//! their numbers are swapped: readers answer in little-endian bytes always.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{
    Access, ByteSource, Bytes, Checkpoint, Endian, Limits, Metadata, Result, StoredTensors,
    TensorIndex, open_source,
};

use crate::read::Header;
use crate::{FORMAT, dtype};

/// One GGUF file, opened for reading.
pub struct Reader {
    version: u32,
    endian: Endian,
    alignment: u64,
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
        let Header { version, endian, alignment, metadata, records, data_start } =
            Header::read(&*source, limits)?;
        // The header has checked that every tensor ends inside the file, so this sum does not overflow.
        let places = records.into_iter().map(|record| (record.info, data_start + record.offset));
        let tensors = StoredTensors::new(source, FORMAT, places)?;
        Ok(Reader { version, endian, alignment, metadata, tensors })
    }

    /// The version of the container: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The byte order of the file; what [`read`](Checkpoint::read) gives is little-endian always.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// What every tensor's offset is a multiple of.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Where the data of the tensor called `name` stands, in bytes from the start of the file.
    pub fn byte_range(&self, name: &str) -> Option<Range<u64>> {
        self.tensors.byte_range(name)
    }
}

impl Checkpoint for Reader {
    fn format(&self) -> String {
        match self.endian {
            Endian::Little => format!("GGUF v{}", self.version),
            Endian::Big => format!("GGUF v{}, big-endian", self.version),
        }
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
        let bytes = self.tensors.read_rows(position, rows)?;
        if self.endian == Endian::Little {
            return Ok(bytes);
        }
        let mut swapped = bytes.to_vec();
        dtype::swap_blocks(self.tensors()[position].dtype, &mut swapped);
        Ok(Bytes::from(swapped))
    }
}
