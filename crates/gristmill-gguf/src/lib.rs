//! GGUF, the file format of llama.cpp: reads versions 1 to 3 in both byte orders, one file or split; writes version 3.
//!
//! ```text
//! ┌────────────────┬─────────────────────┬───────────────────────────┬───────────────────────┐
//! │ magic, version │ metadata            │ tensor records            │ data, aligned         │
//! │ and counts     │ key → typed value   │ name, shape, type, offset │ rows of blocks        │
//! └────────────────┴─────────────────────┴───────────────────────────┴───────────────────────┘
//! ```
//!
//! A [`Reader`] holds the header and reads rows when they are asked for, through the
//! [`Checkpoint`] trait that all of gristmill's readers share:
//!
//! ```no_run
//! use std::path::Path;
//! use gristmill_tensor::Checkpoint;
//!
//! let model = gristmill_gguf::Reader::open(Path::new("model.gguf"))?;
//! println!("{:?}", model.metadata().get_str("general.architecture")?);
//! for info in model.tensors() {
//!     println!("{} {} {}", info.name, info.dtype, info.shape); // shapes are outermost first
//! }
//! let first_row = model.read("token_embd.weight", 0..1)?;
//! # let _ = first_row; Ok::<(), gristmill_tensor::Error>(())
//! ```
//!
//! [`Gguf`] is the entry for a registry of formats, and the way to write:
//!
//! ```
//! use gristmill_tensor::{AtomicFile, DType, Format, Metadata, ModelHeader, TensorInfo};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let mut metadata = Metadata::default();
//! metadata.set("general.architecture", "llama");
//! let tensors = [TensorInfo::new("output_norm.weight", DType::F32, [2])];
//! let file = AtomicFile::create(folder.path().join("model.gguf"), false)?;
//!
//! let sink = gristmill_gguf::Gguf.create(file, &ModelHeader { metadata: &metadata, tensors: &tensors })?;
//! sink.write(0, 0, &[0, 0, 128, 63, 0, 0, 0, 64])?; // tensor 0, byte 0: the floats 1 and 2
//! sink.finish()?;
//! # Ok::<(), gristmill_tensor::Error>(())
//! ```
//!
//! Files are taken to be hostile: every count, length and offset is checked before it is used, and what does not hold
//! is an [`Error`](gristmill_tensor::Error) that says where. Nothing is executed, and memory stays in proportion to
//! the size of the header.
//!
//! Reading order: `read` (the header), `input` (counts and strings of each version), `value` (metadata on disk), `known` (keys with a fixed meaning), `dtype` (type
//! numbers that are refused, byte order), `reader`, `write`, `split`.
#![forbid(unsafe_code)]

mod dtype;
mod input;
mod known;
mod read;
mod reader;
mod split;
mod value;
mod write;

use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{
    AtomicFile, ByteSource, Checkpoint, Format, ModelHeader, OpenContext, Result, TensorSink,
};

pub use reader::Reader;
pub use split::{join, shard_paths};

const FORMAT: &str = "GGUF";
const MAGIC: &[u8; 4] = b"GGUF";

/// Where `general.alignment` does not say otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;

/// ggml gives keys no limit of their own; this one is the specification's.
const MAX_KEY_BYTES: u64 = 65_535;

/// ggml's tensors have room for 64 bytes of name, a NUL among them.
const MAX_NAME_BYTES: u64 = 63;

/// ggml's tensors have at most four dimensions.
const MAX_DIMS: u32 = 4;

/// The format, for a registry.
#[derive(Clone, Copy, Debug)]
pub struct Gguf;

impl Format for Gguf {
    fn name(&self) -> &'static str {
        FORMAT
    }

    fn suffix(&self) -> &'static str {
        "gguf"
    }

    fn detect(&self, _path: &Path, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
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
