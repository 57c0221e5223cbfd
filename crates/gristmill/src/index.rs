//! The index of a checkpoint in several files, which is the same for safetensors and PyTorch. Without either feature
//! there is no such checkpoint to read.

#[cfg(any(feature = "safetensors", feature = "torch"))]
pub(crate) use gristmill_safetensors::{Index, read_index};

#[cfg(not(any(feature = "safetensors", feature = "torch")))]
pub(crate) use absent::{Index, read_index};

#[cfg(not(any(feature = "safetensors", feature = "torch")))]
mod absent {
    use gristmill_tensor::{Checkpoint, Error, Result, ShardedCheckpoint};

    /// There is none.
    #[derive(Debug)]
    pub(crate) struct Index {
        pub(crate) files: Vec<String>,
        never: std::convert::Infallible,
    }

    pub(crate) fn read_index(_: &[u8], name: &str) -> Result<Index> {
        let what = "built without the features `safetensors` and `torch`, which read checkpoints in several files";
        Err(Error::unsupported(name, "shard index", what))
    }

    impl Index {
        pub(crate) fn join(&self, _: Vec<Box<dyn Checkpoint>>) -> Result<ShardedCheckpoint> {
            match self.never {}
        }
    }
}
