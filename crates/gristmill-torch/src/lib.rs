//! Reads PyTorch's `.bin`, `.pt` and `.pth` checkpoints, the zip container and the older stream, without executing
//! anything that is in them; writes the zip container.
//!
//! A checkpoint is a pickle, that is a program, plus the raw storages its tensors are views of. Loading it with
//! Python runs the program. Here the program is rewritten to plain data first; a name that no checkpoint needs
//! (`posix.system`) is an error that says so.
//!
//! ```text
//! file ─archive─▶ data.pkl ─defuse─▶ plain pickle ─serde-pickle─▶ Plain ─rebuild─▶ views ─strided─▶ rows
//!      ─legacy──▶ pickle                                                            │
//!      └──────────────────────────── storages: ranges of the file ──────────────────┘
//! ```
//!
//! ```no_run
//! use std::path::Path;
//!
//! use gristmill_tensor::{Access, Checkpoint, Format, OpenContext, open_source};
//! use gristmill_torch::Torch;
//!
//! let source = open_source(Path::new("pytorch_model.bin"), Access::Map)?;
//! let checkpoint = Torch.open(source, &OpenContext::default())?;
//! for info in checkpoint.tensors() {
//!     println!("{} {} {}", info.name, info.dtype, info.shape);
//! }
//! # Ok::<(), gristmill_tensor::Error>(())
//! ```
//!
//! What is written is the same with the arrows turned around, and simpler: each tensor has a storage of its own.
//!
//! ```text
//! header ─write::pickle─▶ data.pkl ─write::zip─▶ places of all members ─▶ slabs, then their checksums ─▶ file
//! ```
//!
//! Reading order: `opcode` (the alphabet of pickles), `names` (what may be named), `defuse` and `emit` (the rewriting
//! and why it is safe), `plain` (the result), `storage` and `rebuild` (tensors), `strided` (reading them), then the containers
//! `directory`, `archive` and `legacy`, `checkpoint` (all together) and [`audit()`]; for writing, `write::pickle`,
//! `write::zip` and `write`.
#![forbid(unsafe_code)]

mod archive;
mod audit;
mod checkpoint;
mod defuse;
mod directory;
mod emit;
mod legacy;
mod names;
mod opcode;
mod plain;
mod rebuild;
mod storage;
mod strided;
mod write;

use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{
    AtomicFile, ByteSource, Checkpoint, Error, Format, ModelHeader, OpenContext, Result, TensorSink,
};

pub use audit::{audit, is_permitted};

/// How errors call this format.
const FORMAT: &str = "PyTorch";

/// Suffixes under which checkpoints are kept.
const SUFFIXES: &[&str] = &["bin", "pt", "pth", "ckpt", "tar"];

/// Where a tar archive says that it is one.
const TAR_MAGIC: &[u8] = b"ustar";
const TAR_MAGIC_AT: usize = 257;

/// PyTorch checkpoints: both containers are read, the zip is written.
///
/// Tensors are listed in the order of the pickle under the names they have there; dictionaries within dictionaries
/// are joined by dots, and what a training program saved next to the weights is passed over. Storages are read as
/// needed, so a file of any size can be converted in little memory. A file that is written holds plain numbers only,
/// each tensor in a storage of its own, and no metadata; `torch.load(weights_only=True)` reads it.
#[derive(Clone, Copy, Debug)]
pub struct Torch;

impl Format for Torch {
    fn name(&self) -> &'static str {
        FORMAT
    }

    fn suffix(&self) -> &'static str {
        "bin"
    }

    fn detect(&self, path: &Path, head: &[u8]) -> bool {
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
        let by_suffix = SUFFIXES.iter().any(|known| known.eq_ignore_ascii_case(suffix));
        // Other pickles and tar archives are ours by name only: to say what is wrong with them.
        head.starts_with(archive::MAGIC)
            || legacy::detect(head)
            || (by_suffix && (is_pickle(head) || is_tar(head)))
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        context: &OpenContext,
    ) -> Result<Box<dyn Checkpoint>> {
        let head = source.read(0..source.len().min(512))?;
        if head.starts_with(archive::MAGIC) {
            archive::open(source, context)
        } else if is_tar(&head) {
            let what = "the file is a tar archive: a checkpoint of torch 0.1, which only that version can load and \
                        save again, or a packed folder, which must be unpacked first";
            Err(Error::unsupported(source.name(), FORMAT, what))
        } else if is_pickle(&head) {
            legacy::open(source, context)
        } else {
            let what = "the file begins neither as a zip archive nor as a pickle; it is no checkpoint of PyTorch's, \
                        or the download failed";
            Err(Error::malformed(source.name(), FORMAT, 0, what))
        }
    }

    fn create(&self, file: AtomicFile, header: &ModelHeader<'_>) -> Result<Box<dyn TensorSink>> {
        Ok(Box::new(write::create(file, header)?))
    }
}

/// Whether a file begins as a pickle of protocol 2 or later.
fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..])
}

fn is_tar(head: &[u8]) -> bool {
    head.get(TAR_MAGIC_AT..).is_some_and(|at| at.starts_with(TAR_MAGIC))
}
