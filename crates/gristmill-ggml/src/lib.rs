//! The legacy containers of the ggml family: GGML, GGMF, GGJT versions 1 to 3, and their relatives.
//!
//! ```text
//! ┌───────────────┬───────────────────────┬─────────────────────┬──────────────────────────────────────┐
//! │ magic,        │ hyperparameters,      │ vocabulary          │ tensors, each as record and data:    │
//! │ maybe version │ in an order of their  │ length, text,       │ n_dims, name length, type, ne[],     │
//! │               │ architecture's own    │ maybe score         │ name, maybe padding, rows of blocks  │
//! └───────────────┴───────────────────────┴─────────────────────┴──────────────────────────────────────┘
//! ```
//!
//! These files, written from September 2022 until GGUF replaced them, do not say of which architecture they are, how
//! many tensors they hold, or, in the unversioned container, which block layouts they use. So a file is read in every
//! way in which it could be meant, and the only way that makes sense to its last byte is the right one (`detect`).
//! Which ways there are is told by [`HeaderLayout`]s: the crate itself knows no architecture.
//!
//! `docs/formats/ggml.md` is the specification. Files are taken to be hostile: every count and length is checked
//! before it is used, and nothing is allocated that the file does not hold.
//!
//! Reading order: `magic` (containers), `header`, `vocab`, `record`, then `detect`, which tries them, `planar` (rows of the first weeks), `reader`,
//! `parts` (models in several files), and `write`.
#![forbid(unsafe_code)]

mod detect;
mod header;
mod magic;
mod parts;
mod planar;
mod reader;
mod record;
mod vocab;
mod write;

use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{
    AtomicFile, ByteSource, Checkpoint, Container, Format, HeaderLayout, ModelHeader, OpenContext,
    Result, TensorSink,
};

pub use parts::{join, part_paths};
pub use reader::Reader;

use write::Writing;

const FORMAT: &str = "GGML";

/// What architectures tell this crate.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// The headers there are.
    pub(crate) headers: fn() -> Vec<&'static HeaderLayout>,
    /// Whether the architecture of the first name may have a tensor of the second.
    pub(crate) is_tensor: fn(&str, &str) -> bool,
}

/// The format, for a registry, over the headers of some architectures.
#[derive(Clone, Copy)]
pub struct Ggml {
    known: Known,
    writing: Writing,
}

impl Ggml {
    /// The format for files with one of `headers`, whose tensors are told apart by `is_tensor`: whether the
    /// architecture of the first name may have a tensor of the second.
    pub const fn new(
        headers: fn() -> Vec<&'static HeaderLayout>,
        is_tensor: fn(&str, &str) -> bool,
    ) -> Ggml {
        let writing = Writing { container: Container::Ggjt, quant_version: 2 };
        Ggml { known: Known { headers, is_tensor }, writing }
    }

    /// The same, writing files of this container (GGJT v3 where nobody says) with this version of the block layouts:
    /// 2 is today's, 1 that of 12 to 19 May 2023, 0 the one before.
    pub const fn writing(self, container: Container, quant_version: u32) -> Ggml {
        Ggml { writing: Writing { container, quant_version }, ..self }
    }
}

impl Format for Ggml {
    fn name(&self) -> &'static str {
        FORMAT
    }

    fn suffix(&self) -> &'static str {
        "bin"
    }

    fn detect(&self, _path: &Path, head: &[u8]) -> bool {
        magic::is_known(head)
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        context: &OpenContext,
    ) -> Result<Box<dyn Checkpoint>> {
        Ok(Box::new(Reader::new(source, self.known, context)?))
    }

    fn create(&self, file: AtomicFile, header: &ModelHeader<'_>) -> Result<Box<dyn TensorSink>> {
        Ok(Box::new(write::create(file, header, self.writing, self.known)?))
    }
}
