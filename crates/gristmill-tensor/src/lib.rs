//! Tensors at rest: the ground on which every other gristmill crate stands.
//!
//! A reader of any format opens a [`ByteSource`] and answers as a [`Checkpoint`]: a flat list of [`TensorInfo`] and
//! [`Metadata`] under GGUF's keys ([`keys`]). Nothing is read until a slab of rows is asked for. A writer is a
//! [`TensorSink`]: it is given the whole header first, then slabs in any order.
//!
//! ```text
//! file ─ByteSource─▶ Format::open ─▶ Checkpoint ─read(name, rows)─▶ Bytes ─▶ … ─▶ TensorSink ─▶ file
//! ```
//!
//! ```
//! use gristmill_tensor::{DType, TensorInfo};
//!
//! let info = TensorInfo::new("blk.0.ffn_up.weight", DType::Q4_0, [11008, 4096]);
//! assert_eq!(info.n_bytes(), 11008 * 4096 / 32 * 18);
//! ```
//!
//! Reading order: [`dtype`](DType), [`shape`](Shape), `bytes`, `source`, `tensor`, `metadata`, `checkpoint`,
//! `format`, `header`, then `cursor`, `limits`, `stored`, `atomic`, `sink` and `error`, which serve the readers and writers.

mod arena;
mod atomic;
mod bytes;
mod checkpoint;
mod cursor;
mod dtype;
mod error;
mod format;
mod header;
pub mod keys;
mod limits;
mod metadata;
mod mmap;
mod shape;
mod sharded;
mod sink;
mod source;
mod stored;
mod tensor;

pub use arena::{in_large_pages, zeros_in_large_pages};
pub use atomic::AtomicFile;
pub use bytes::Bytes;
pub use checkpoint::{Checkpoint, TensorIndex};
pub use cursor::{Cursor, Endian};
pub use dtype::DType;
pub use error::{Error, Result};
pub use format::{Format, ModelHeader, OpenContext, TensorSink};
pub use header::{Container, HeaderField, HeaderLayout, Unsaid, Vocabulary};
pub use limits::Limits;
pub use metadata::{MetaArray, MetaValue, Metadata};
pub use mmap::MappedSource;
pub use shape::Shape;
pub use sharded::ShardedCheckpoint;
pub use sink::FileSink;
pub use source::{Access, ByteSource, FileSource, MemorySource, check_range, open_source};
pub use stored::StoredTensors;
pub use tensor::{Tensor, TensorInfo};
