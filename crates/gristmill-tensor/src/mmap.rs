//! Memory maps: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "a file mapping is unsafe because others may change the file")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::source::{check_range, open_regular};
use crate::{ByteSource, Bytes, Error, Result};

/// A file mapped read-only; reads are slices of the mapping and copy nothing.
///
/// While a program runs on it, the file must not be shortened by others: the system would then answer a read past
/// the new end with a signal. Use [`FileSource`](crate::FileSource) where that cannot be promised.
pub struct MappedSource {
    path: PathBuf,
    bytes: Bytes,
}

impl MappedSource {
    /// Maps `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<MappedSource> {
        MappedSource::with(path, &|_| Ok(()))
    }

    /// Maps `path` and reads all of it into memory, where the system keeps it.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened, mapped or locked; the system's limit on locked memory (`ulimit -l`) may be
    /// lower than the file is long.
    pub fn locked(path: &Path) -> Result<MappedSource> {
        #[cfg(unix)]
        let lock = |map: &Mmap| map.lock();
        #[cfg(not(unix))]
        let lock = |_: &Mmap| Err(std::io::ErrorKind::Unsupported.into());
        MappedSource::with(path, &lock)
    }

    fn with(path: &Path, prepare: &dyn Fn(&Mmap) -> std::io::Result<()>) -> Result<MappedSource> {
        let (file, len) = open_regular(path)?;
        if len == 0 {
            return Ok(MappedSource { path: path.into(), bytes: Bytes::from(Vec::new()) });
        }
        // SAFETY: the mapping is private to this process and never written through; that other processes leave the
        // file alone is the documented condition of this type, and every access is bounds-checked against the
        // length of the mapping itself.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        // Wishes that cost nothing: large pages, if the file is yet to be read.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        prepare(&map).map_err(Error::io(path))?;
        Ok(MappedSource { path: path.into(), bytes: Bytes::new(Arc::new(map)) })
    }
}

impl ByteSource for MappedSource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        check_range(self, &range)?;
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn is_mapped(&self) -> bool {
        true
    }
}
