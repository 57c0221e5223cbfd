//! Checkpoints in several files and their index, which are the same for safetensors and PyTorch. Without either feature
//! there is no such checkpoint to read or write.

#[cfg(any(feature = "safetensors", feature = "torch"))]
pub(crate) use gristmill_safetensors::{Index, create_shards, read_index};

#[cfg(not(any(feature = "safetensors", feature = "torch")))]
pub(crate) use absent::{Index, create_shards, read_index};

#[cfg(not(any(feature = "safetensors", feature = "torch")))]
mod absent {
    use std::path::Path;

    use gristmill_tensor::{
        Checkpoint, Error, Format, ModelHeader, Result, ShardedCheckpoint, TensorSink,
    };

    /// There is none.
    #[derive(Debug)]
    pub(crate) struct Index {
        pub(crate) files: Vec<String>,
        never: std::convert::Infallible,
    }

    const WHAT: &str = "built without the features `safetensors` and `torch`, which are for checkpoints in several files";

    pub(crate) fn read_index(_: &[u8], name: &str) -> Result<Index> {
        Err(Error::unsupported(name, "shard index", WHAT))
    }

    pub(crate) fn create_shards(
        _: &dyn Format,
        folder: &Path,
        _: &str,
        _: &str,
        _: &ModelHeader<'_>,
        _: u64,
        _: bool,
    ) -> Result<Box<dyn TensorSink>> {
        Err(Error::unsupported(folder.display().to_string(), "checkpoint folder", WHAT))
    }

    impl Index {
        pub(crate) fn join(&self, _: Vec<Box<dyn Checkpoint>>) -> Result<ShardedCheckpoint> {
            match self.never {}
        }
    }
}
