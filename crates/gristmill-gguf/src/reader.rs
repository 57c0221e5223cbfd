//! An opened GGUF file: the header in memory, the tensors read when asked for.
//!
//! Rows come as slices of the source, without a copy when it is a mapping. Only big-endian files are copied, because
//! their numbers are swapped: readers answer in little-endian bytes always.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{
    Access, ByteSource, Bytes, Checkpoint, Endian, Error, Limits, Metadata, Result, TensorIndex,
    TensorInfo, open_source,
};

use crate::read::Header;
use crate::{FORMAT, dtype};

/// One GGUF file, opened for reading.
pub struct Reader {
    source: Arc<dyn ByteSource>,
    version: u32,
    endian: Endian,
    alignment: u64,
    metadata: Metadata,
    index: TensorIndex,
    /// For each tensor, bytes from the start of the file.
    starts: Vec<u64>,
}

impl Reader {
    /// Maps the file at `path` and opens it with the default limits.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Io`].
    pub fn open(path: &Path) -> Result<Reader> {
        Reader::new(open_source(path, Access::Map)?, &Limits::default())
    }

    /// Reads and checks the header of `source`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for whatever breaks the format's rules, [`Error::Limit`] for what exceeds `limits`,
    /// [`Error::Unsupported`] for tensors of a type that cannot be read.
    pub fn new(source: Arc<dyn ByteSource>, limits: &Limits) -> Result<Reader> {
        let header = Header::read(&*source, limits)?;
        // The header has checked that every tensor ends inside the file, so this sum does not overflow.
        let starts =
            header.records.iter().map(|record| header.data_start + record.offset).collect();
        let infos = header.records.into_iter().map(|record| record.info).collect();
        let index = TensorIndex::new(infos).map_err(|name| {
            Error::malformed(source.name(), FORMAT, 0, format!("tensor {name} occurs twice"))
        })?;
        Ok(Reader {
            source,
            version: header.version,
            endian: header.endian,
            alignment: header.alignment,
            metadata: header.metadata,
            index,
            starts,
        })
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
        let position = self.index.position(name)?;
        let start = self.starts[position];
        Some(start..start + self.index.infos()[position].n_bytes())
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
        self.source.name()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        self.index.infos()
    }

    fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.index.position(name).map(|position| &self.index.infos()[position])
    }

    fn read(&self, name: &str, rows: Range<usize>) -> Result<Bytes> {
        let position = self
            .index
            .position(name)
            .ok_or_else(|| Error::missing(self.name(), format!("tensor {name}")))?;
        let info = &self.index.infos()[position];
        assert!(
            rows.start <= rows.end && rows.end <= info.shape.rows(),
            "rows {rows:?} of tensor {name}, which has {}",
            info.shape.rows()
        );
        let row_bytes = info.row_bytes() as u64;
        let start = self.starts[position] + rows.start as u64 * row_bytes;
        let bytes = self.source.read(start..start + rows.len() as u64 * row_bytes)?;
        if self.endian == Endian::Little {
            return Ok(bytes);
        }
        let mut swapped = bytes.to_vec();
        dtype::swap_blocks(info.dtype, &mut swapped);
        Ok(Bytes::from(swapped))
    }
}
