//! The budget of a reader: no number from a file reaches an allocator unchecked.

use crate::{Error, Result};

/// The most that a file may ask for. The defaults leave room for every released model; see SECURITY.md.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Tensors in one checkpoint.
    pub tensors: u64,
    /// Metadata entries.
    pub metadata_entries: u64,
    /// Bytes of one metadata string.
    pub string_bytes: u64,
    /// Elements of one metadata array.
    pub array_len: u64,
    /// Bytes of a JSON header, a pickle, a configuration or a tokenizer file.
    pub header_bytes: u64,
    /// Dimensions of a tensor.
    pub rank: u64,
    /// Bytes of a tensor's name.
    pub name_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            tensors: 1 << 20,
            metadata_entries: 1 << 16,
            string_bytes: 64 << 20,
            array_len: 1 << 26,
            header_bytes: 256 << 20,
            rank: 8,
            name_bytes: 512,
        }
    }
}

impl Limits {
    /// Refuses `found` above `limit`.
    ///
    /// # Errors
    /// [`Error::Limit`] naming `what`.
    pub fn check(file: &str, what: &str, limit: u64, found: u64) -> Result<()> {
        if found > limit {
            return Err(Error::Limit { file: file.into(), what: what.into(), limit, found });
        }
        Ok(())
    }
}
