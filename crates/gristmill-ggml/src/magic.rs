//! The first word, or two, of a file: which container it is.
//!
//! Magics are numbers written in the machine's order, so their letters stand backwards in the file.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use gristmill_tensor::{Container, Cursor, Error, HeaderLayout, Result, Vocabulary};

use crate::FORMAT;

/// What stands in front of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Magic {
    pub(crate) container: Container,
    /// The version word, 0 for containers without.
    pub(crate) version: u32,
}

/// A magic and the container it opens; `None` for files of the family that hold no model that is read here.
struct Row {
    magic: [u8; 4],
    container: Option<Container>,
    /// The versions there are; empty for containers without a version word.
    versions: &'static [u32],
}

const ROWS: &[Row] = &[
    Row { magic: *b"lmgg", container: Some(Container::Ggml), versions: &[] },
    Row { magic: *b"fmgg", container: Some(Container::Ggmf), versions: &[1] },
    Row { magic: *b"tjgg", container: Some(Container::Ggjt), versions: &[1, 2, 3] },
    Row { magic: *b"ccgg", container: Some(Container::Ggcc), versions: &[10] },
    Row { magic: *b"mmgg", container: Some(Container::Ggmm), versions: &[] },
    Row { magic: *b"algg", container: None, versions: &[1] },
];

/// Bytes of a LoRA adapter's magic.
const ADAPTER: [u8; 4] = *b"algg";

/// Whether a file begins as one of the family.
pub(crate) fn is_known(head: &[u8]) -> bool {
    ROWS.iter().any(|row| head.starts_with(&row.magic))
}

/// Reads the magic and version; `None` for a LoRA adapter.
pub(crate) fn read(cursor: &mut Cursor<'_>, file: &str) -> Result<Option<Magic>> {
    let magic = cursor.bytes(4)?;
    let Some(row) = ROWS.iter().find(|row| *magic == row.magic) else {
        return Err(
            cursor.malformed_at(0, "the file does not begin with a magic of the ggml family")
        );
    };
    let version = if row.versions.is_empty() { 0 } else { cursor.u32()? };
    if !row.versions.is_empty() && !row.versions.contains(&version) {
        return Err(Error::unsupported(file, FORMAT, unknown_version(row.magic, version)));
    }
    match row.container {
        Some(container) => Ok(Some(Magic { container, version })),
        None => {
            debug_assert_eq!(row.magic, ADAPTER);
            Ok(None)
        }
    }
}

fn unknown_version(magic: [u8; 4], version: u32) -> String {
    let name: String = magic.iter().rev().map(|&byte| char::from(byte)).collect();
    match (&*name, version) {
        ("ggmf", 100 | 101) => {
            "this is an RWKV model of rwkv.cpp, an architecture that cannot be read; take the original checkpoint".into()
        }
        _ => format!("this is a {name} file of version {version}, which nobody is known to have written"),
    }
}

impl Magic {
    /// The magic of a new file with this version of the block layouts.
    pub(crate) fn of(container: Container, quant_version: u32) -> Magic {
        let version = match container {
            Container::Ggml | Container::Ggmm => 0,
            Container::Ggmf => 1,
            Container::Ggjt => quant_version.saturating_add(1),
            Container::Ggcc => 10,
        };
        Magic { container, version }
    }

    /// As it stands in a file.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let row = ROWS.iter().find(|row| row.container == Some(self.container));
        let mut bytes = row.expect("every container has a row").magic.to_vec();
        if self.version != 0 {
            bytes.extend(self.version.to_le_bytes());
        }
        bytes
    }

    /// Whether tokens have scores.
    pub(crate) fn has_scores(self) -> bool {
        matches!(self.container, Container::Ggmf | Container::Ggjt | Container::Ggcc)
    }

    /// Whether data begins on multiples of 32 bytes.
    pub(crate) fn is_aligned(self) -> bool {
        matches!(self.container, Container::Ggjt | Container::Ggcc)
    }

    /// The version of the block layouts in files of `layout`, where the container decides it.
    pub(crate) fn told(self, layout: &HeaderLayout) -> Option<u32> {
        match self.container {
            Container::Ggml => None,
            // Who does not keep to the container's alignment does not mean its version either.
            Container::Ggjt if !layout.aligned => None,
            Container::Ggmf | Container::Ggmm => Some(0),
            Container::Ggjt => Some(self.version.saturating_sub(1)),
            Container::Ggcc => Some(2),
        }
    }

    /// The version of the block layouts in files of `layout` whose file type counts `counted`, 0 for nothing: what
    /// the container tells, else the count, else what was usual at the time.
    pub(crate) fn quant_version(self, layout: &HeaderLayout, counted: u32) -> u32 {
        match (self.told(layout), counted) {
            (Some(told), _) => told,
            (None, 0) => layout.uncounted,
            (None, counted) => counted,
        }
    }

    /// Whether the file types of `layout` are llama.cpp's, which GGUF kept: they part from those of ggml's examples
    /// behind Q5_1, and count no version.
    pub(crate) fn is_llama_cpp(self, layout: &HeaderLayout) -> bool {
        layout.vocabulary == Vocabulary::SentencePiece || self.container == Container::Ggcc
    }

    /// The container as people write it: `GGJT v3`.
    pub(crate) fn title(self) -> String {
        let name = match self.container {
            Container::Ggml => "GGML",
            Container::Ggmf => "GGMF",
            Container::Ggjt => "GGJT",
            Container::Ggcc => "GGCC",
            Container::Ggmm => "GGMM",
        };
        match self.version {
            0 => name.into(),
            version => format!("{name} v{version}"),
        }
    }
}
