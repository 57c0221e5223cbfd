//! What every reader gives: a flat list of tensors and metadata, with nothing read until asked.

use std::ops::Range;

use crate::{Bytes, Error, Metadata, Result, Tensor, TensorInfo};

/// An opened model file or folder.
pub trait Checkpoint: Send + Sync {
    /// What was opened, for people: `"GGUF v3"`, `"PyTorch zip"`.
    fn format(&self) -> String;

    /// The file or folder, for messages.
    fn name(&self) -> String;

    /// Metadata under GGUF's keys; empty for files that carry none.
    fn metadata(&self) -> &Metadata;

    /// What tensors there are.
    fn index(&self) -> &TensorIndex;

    /// A slab of whole rows of the tensor at `position` of the index, as [`read`](Self::read) gives it. `rows` lie
    /// inside the tensor: `read` has checked it.
    ///
    /// # Errors
    /// Whatever reading gives.
    fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes>;

    /// The tensors in file order.
    fn tensors(&self) -> &[TensorInfo] {
        self.index().infos()
    }

    /// The description of the tensor called `name`.
    fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.index().find(name)
    }

    /// A slab of whole rows of a tensor, row-major and little-endian: nothing ever needs a whole tensor in memory.
    /// Rows are runs along the innermost dimension; see [`Shape::rows`](crate::Shape::rows).
    ///
    /// # Errors
    /// [`Error::Missing`] for a name that is not there, and whatever reading gives.
    ///
    /// # Panics
    /// When `rows` reaches past the tensor's rows: ranges come from [`tensors`](Self::tensors), not from files.
    fn read(&self, name: &str, rows: Range<usize>) -> Result<Bytes> {
        let position = self
            .index()
            .position(name)
            .ok_or_else(|| Error::missing(self.name(), format!("tensor {name}")))?;
        let n = self.tensors()[position].shape.rows();
        assert!(rows.start <= rows.end && rows.end <= n, "rows {rows:?} of {n} of tensor {name}");
        self.read_rows(position, rows)
    }

    /// A whole tensor.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn tensor(&self, name: &str) -> Result<Tensor> {
        let info = self.expect(name)?.clone();
        let bytes = self.read(name, 0..info.shape.rows())?;
        Ok(Tensor { info, bytes })
    }

    /// The description of a tensor that must be there.
    ///
    /// # Errors
    /// [`Error::Missing`].
    fn expect(&self, name: &str) -> Result<&TensorInfo> {
        self.find(name).ok_or_else(|| Error::missing(self.name(), format!("tensor {name}")))
    }

    /// The name of another tensor that is a view of the very same stored elements (tied weights), if the format can
    /// tell. Of several such names the first in file order answers `None`.
    fn alias_of(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl<T: Checkpoint + ?Sized> Checkpoint for std::sync::Arc<T> {
    fn format(&self) -> String {
        (**self).format()
    }
    fn name(&self) -> String {
        (**self).name()
    }
    fn metadata(&self) -> &Metadata {
        (**self).metadata()
    }
    fn index(&self) -> &TensorIndex {
        (**self).index()
    }
    fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes> {
        (**self).read_rows(position, rows)
    }
    fn alias_of(&self, name: &str) -> Option<&str> {
        (**self).alias_of(name)
    }
}

/// A name-to-position index over a list of tensors, for implementations of [`Checkpoint`].
#[derive(Debug, Default)]
pub struct TensorIndex {
    infos: Vec<TensorInfo>,
    positions: std::collections::HashMap<String, usize>,
}

impl TensorIndex {
    /// Indexes `infos`.
    ///
    /// # Errors
    /// The first name that occurs twice.
    pub fn new(infos: Vec<TensorInfo>) -> std::result::Result<TensorIndex, String> {
        let mut positions = std::collections::HashMap::with_capacity(infos.len());
        for (position, info) in infos.iter().enumerate() {
            if positions.insert(info.name.clone(), position).is_some() {
                return Err(info.name.clone());
            }
        }
        Ok(TensorIndex { infos, positions })
    }

    /// The descriptions in order.
    pub fn infos(&self) -> &[TensorInfo] {
        &self.infos
    }

    /// The description of the tensor called `name`.
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.position(name).map(|position| &self.infos[position])
    }

    /// The position of `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }
}
