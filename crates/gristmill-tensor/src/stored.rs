//! Tensors that each lie in one run of bytes of a file, for readers of such formats.

use std::ops::Range;
use std::sync::Arc;

use crate::checkpoint::TensorIndex;
use crate::{ByteSource, Bytes, Error, Result, TensorInfo};

/// Where the tensors of a file are, and the reading of their rows.
pub struct StoredTensors {
    source: Arc<dyn ByteSource>,
    index: TensorIndex,
    /// For each tensor, bytes from the start of the file.
    starts: Vec<u64>,
}

impl StoredTensors {
    /// Tensors of `source`, each with the byte at which it begins. `format` is named in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a tensor reaches past the end of the source or two have the same name.
    pub fn new(
        source: Arc<dyn ByteSource>,
        format: &'static str,
        tensors: impl IntoIterator<Item = (TensorInfo, u64)>,
    ) -> Result<StoredTensors> {
        let (infos, starts): (Vec<TensorInfo>, Vec<u64>) = tensors.into_iter().unzip();
        let malformed = |at, what| Error::malformed(source.name(), format, at, what);
        for (info, &start) in infos.iter().zip(&starts) {
            let end = info.checked_bytes().and_then(|n| start.checked_add(n));
            if end.is_none_or(|end| end > source.len()) {
                let what = format!(
                    "tensor {} reaches past the end of the file at byte {}; the file is cut short or damaged",
                    info.name,
                    source.len()
                );
                return Err(malformed(start, what));
            }
        }
        let index = TensorIndex::new(infos)
            .map_err(|name| malformed(0, format!("tensor {name} occurs twice")))?;
        Ok(StoredTensors { source, index, starts })
    }

    /// The file.
    pub fn source(&self) -> &dyn ByteSource {
        &*self.source
    }

    /// What tensors there are.
    pub fn index(&self) -> &TensorIndex {
        &self.index
    }

    /// The place of the tensor called `name`, in bytes from the start of the file.
    pub fn byte_range(&self, name: &str) -> Option<Range<u64>> {
        let position = self.index.position(name)?;
        let start = self.starts[position];
        Some(start..start + self.index.infos()[position].n_bytes())
    }

    /// A slab of whole rows, as it is stored: what [`Checkpoint::read_rows`](crate::Checkpoint::read_rows) asks for.
    ///
    /// # Errors
    /// Whatever the source gives.
    pub fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes> {
        let row_bytes = self.index.infos()[position].row_bytes() as u64;
        let start = self.starts[position] + rows.start as u64 * row_bytes;
        self.source.read(start..start + rows.len() as u64 * row_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, MemorySource};

    fn stored(tensors: &[(&str, usize, u64)]) -> Result<StoredTensors> {
        let source = Arc::new(MemorySource::new("test", (0..8u8).collect::<Vec<_>>()));
        let info = |name, rows| TensorInfo::new(name, DType::I8, [rows, 2]);
        StoredTensors::new(
            source,
            "test",
            tensors.iter().map(|&(name, rows, at)| (info(name, rows), at)),
        )
    }

    #[test]
    fn rows_come_from_the_place_of_their_tensor() {
        let tensors = stored(&[("a", 1, 0), ("b", 2, 4)]).unwrap();
        assert_eq!(*tensors.read_rows(1, 1..2).unwrap(), [6, 7]);
        assert_eq!(tensors.byte_range("b"), Some(4..8));
    }

    #[test]
    fn a_tensor_past_the_end_or_a_name_given_twice_is_refused() {
        assert!(stored(&[("a", 2, 6)]).is_err());
        assert!(stored(&[("a", 1, u64::MAX)]).is_err());
        assert!(stored(&[("a", 1, 0), ("a", 1, 2)]).is_err());
    }
}
