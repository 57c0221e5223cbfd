//! A checkpoint that lives in memory.

use std::ops::Range;

use gristmill_tensor::{Bytes, Checkpoint, Metadata, Result, TensorIndex, TensorInfo};

/// Tensors and metadata, given one by one.
pub struct MemoryCheckpoint {
    name: String,
    /// Metadata, free to be changed.
    pub metadata: Metadata,
    index: TensorIndex,
    data: Vec<Bytes>,
}

impl MemoryCheckpoint {
    /// A checkpoint that calls itself `name` in messages.
    ///
    /// # Panics
    /// When two tensors have one name, or a tensor has not as many bytes as its shape and type need.
    pub fn new(
        name: impl Into<String>,
        metadata: Metadata,
        tensors: impl IntoIterator<Item = (TensorInfo, Vec<u8>)>,
    ) -> MemoryCheckpoint {
        let (infos, data): (Vec<_>, Vec<_>) =
            tensors.into_iter().map(|(info, bytes)| (info, Bytes::from(bytes))).unzip();
        for (info, bytes) in infos.iter().zip(&data) {
            assert_eq!(info.n_bytes(), bytes.len() as u64, "bytes of {}", info.name);
        }
        let index = TensorIndex::new(infos).expect("every name once");
        MemoryCheckpoint { name: name.into(), metadata, index, data }
    }

    /// The descriptions and bytes, to make another checkpoint of.
    pub fn into_tensors(self) -> Vec<(TensorInfo, Vec<u8>)> {
        let bytes = self.data.iter().map(|bytes| bytes.to_vec());
        self.index.infos().iter().cloned().zip(bytes).collect()
    }
}

impl Checkpoint for MemoryCheckpoint {
    fn format(&self) -> String {
        "memory".into()
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn index(&self) -> &TensorIndex {
        &self.index
    }

    fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes> {
        let row_bytes = self.index.infos()[position].row_bytes();
        Ok(self.data[position].slice(rows.start * row_bytes..rows.end * row_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_tensor::DType;

    #[test]
    fn a_slab_is_some_rows() {
        let info = TensorInfo::new("x", DType::U8, [3, 2]);
        let checkpoint =
            MemoryCheckpoint::new("test", Metadata::new("test"), [(info, vec![0, 1, 2, 3, 4, 5])]);
        assert_eq!(&*checkpoint.read("x", 1..3).unwrap(), &[2, 3, 4, 5]);
        assert!(checkpoint.read("y", 0..1).is_err());
    }
}
