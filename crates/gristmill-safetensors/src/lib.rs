//! safetensors, the file format of Hugging Face: reads and writes single files and models in several files.
//!
//! ```text
//! ┌─────────────┬──────────────────────────────────────────────────────────────┬────────────────────────────┐
//! │ N as u64    │ N bytes of JSON, padded with blanks                          │ data, without gaps         │
//! │             │ {"name":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]}} │ rows of plain numbers      │
//! └─────────────┴──────────────────────────────────────────────────────────────┴────────────────────────────┘
//! ```
//!
//! A [`Reader`] holds the header and reads rows when they are asked for, through the [`Checkpoint`] trait that all of
//! gristmill's readers share:
//!
//! ```no_run
//! use std::path::Path;
//! use gristmill_tensor::Checkpoint;
//!
//! let model = gristmill_safetensors::Reader::open(Path::new("model.safetensors"))?;
//! for info in model.tensors() {
//!     println!("{} {} {}", info.name, info.dtype, info.shape); // shapes are outermost first
//! }
//! let first_row = model.read("transformer.wte.weight", 0..1)?;
//! # let _ = first_row; Ok::<(), gristmill_tensor::Error>(())
//! ```
//!
//! [`Safetensors`] is the entry for a registry of formats, and the way to write:
//!
//! ```
//! use gristmill_tensor::{AtomicFile, DType, Format, Metadata, ModelHeader, TensorInfo};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let tensors = [TensorInfo::new("norm.weight", DType::F32, [2])];
//! let file = AtomicFile::create(folder.path().join("model.safetensors"), false)?;
//!
//! let header = ModelHeader { metadata: &Metadata::default(), tensors: &tensors };
//! let sink = gristmill_safetensors::Safetensors.create(file, &header)?;
//! sink.write(0, 0, &[0, 0, 128, 63, 0, 0, 0, 64])?; // tensor 0, byte 0: the floats 1 and 2
//! sink.finish()?;
//! # Ok::<(), gristmill_tensor::Error>(())
//! ```
//!
//! The official `safetensors` crate decides what a valid header is; this crate bounds what a header may cost before
//! it is parsed, refuses what the official one lets pass (names that occur twice, extravagant ranks), and reads
//! tensors from anywhere a [`ByteSource`] can, a slab of rows at a time.
//!
//! Reading order: `header` (the JSON), `reader`, `write`, then `index` and `shards` (models in several files).
#![forbid(unsafe_code)]

mod header;
mod index;
mod reader;
mod shards;
mod write;

use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{
    AtomicFile, ByteSource, Checkpoint, Format, ModelHeader, OpenContext, Result, TensorSink,
};

pub use index::{Index, read_index};
pub use reader::Reader;
pub use shards::create_shards;

const FORMAT: &str = "safetensors";

/// The official reader refuses longer headers, so nobody may write them.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The one name that is not a tensor.
const METADATA: &str = "__metadata__";

/// Stands before a file's own metadata keys in [`Metadata`](gristmill_tensor::Metadata), which are not GGUF's.
const KEY_PREFIX: &str = "safetensors.";

/// The format, for a registry.
#[derive(Clone, Copy, Debug)]
pub struct Safetensors;

impl Format for Safetensors {
    fn name(&self) -> &'static str {
        FORMAT
    }

    fn suffix(&self) -> &'static str {
        "safetensors"
    }

    /// There is no magic: a plausible header length and the brace that must follow it are the signature.
    fn detect(&self, path: &Path, head: &[u8]) -> bool {
        let Some((len, json)) = head.split_first_chunk() else { return false };
        let plausible = (2..=MAX_HEADER_BYTES).contains(&u64::from_le_bytes(*len));
        let named = path.extension().is_some_and(|extension| extension == "safetensors");
        json.starts_with(b"{") && (plausible || named)
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        context: &OpenContext,
    ) -> Result<Box<dyn Checkpoint>> {
        Ok(Box::new(Reader::new(source, &context.limits)?))
    }

    fn create(&self, file: AtomicFile, header: &ModelHeader<'_>) -> Result<Box<dyn TensorSink>> {
        Ok(Box::new(write::create(file, header)?))
    }
}
