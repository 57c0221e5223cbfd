//! Several files as one checkpoint, so that no reader knows about shards.

use std::ops::Range;

use crate::checkpoint::TensorIndex;
use crate::{Bytes, Checkpoint, Error, Metadata, Result};

/// The parts of a checkpoint that was split over several files.
pub struct ShardedCheckpoint {
    name: String,
    metadata: Metadata,
    index: TensorIndex,
    /// For each tensor, which part holds it.
    part_of: Vec<usize>,
    parts: Vec<Box<dyn Checkpoint>>,
}

impl ShardedCheckpoint {
    /// Joins `parts` in order. `metadata` is that of the whole.
    ///
    /// # Errors
    /// [`Error::Malformed`] when two parts hold a tensor of the same name.
    pub fn new(
        name: impl Into<String>,
        metadata: Metadata,
        parts: Vec<Box<dyn Checkpoint>>,
    ) -> Result<ShardedCheckpoint> {
        let name = name.into();
        let mut infos = Vec::new();
        let mut part_of = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            infos.extend_from_slice(part.tensors());
            part_of.resize(infos.len(), number);
        }
        let index = TensorIndex::new(infos).map_err(|tensor| {
            Error::malformed(&name, "shards", 0, format!("tensor {tensor} stands in two shards"))
        })?;
        Ok(ShardedCheckpoint { name, metadata, index, part_of, parts })
    }
}

impl Checkpoint for ShardedCheckpoint {
    fn format(&self) -> String {
        let first = self.parts.first().map_or_else(String::new, |part| part.format());
        format!("{first}, {} shards", self.parts.len())
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
        self.parts[self.part_of[position]].read(&self.tensors()[position].name, rows)
    }

    fn alias_of(&self, name: &str) -> Option<&str> {
        let position = self.index.position(name)?;
        self.parts[self.part_of[position]].alias_of(name)
    }
}
