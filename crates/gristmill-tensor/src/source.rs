//! Where bytes come from: one small trait, so that a memory map, a plain file, a buffer in memory and a remote
//! resource are the same to every reader.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Bytes, Error, Result};

/// Random access to the bytes of one file.
pub trait ByteSource: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// The bytes of `range`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the range reaches past the end, [`Error::Io`] when reading fails.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// What to call this source in messages: usually its path.
    fn name(&self) -> String;

    /// Whether [`read`](Self::read) answers with slices of a mapping, which cost no memory of their own.
    fn is_mapped(&self) -> bool {
        false
    }

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks a byte range against a length, for implementations of [`ByteSource::read`].
///
/// # Errors
/// [`Error::Malformed`] naming the first byte that is not there.
pub fn check_range(source: &(impl ByteSource + ?Sized), range: &Range<u64>) -> Result<()> {
    if range.start > range.end || range.end > source.len() {
        return Err(Error::malformed(
            source.name(),
            "file",
            range.start,
            format!(
                "bytes {}..{} are wanted but the file ends at {}; it is probably cut short",
                range.start,
                range.end,
                source.len()
            ),
        ));
    }
    Ok(())
}

/// A buffer in memory.
pub struct MemorySource {
    name: String,
    bytes: Bytes,
}

impl MemorySource {
    /// A source over `bytes` that calls itself `name` in messages.
    pub fn new(name: impl Into<String>, bytes: impl Into<Bytes>) -> MemorySource {
        MemorySource { name: name.into(), bytes: bytes.into() }
    }
}

impl ByteSource for MemorySource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        check_range(self, &range)?;
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_mapped(&self) -> bool {
        true
    }
}

/// A plain file, read with positioned reads into buffers of its own: nothing stays resident, which is what a
/// conversion within a memory budget wants.
pub struct FileSource {
    path: PathBuf,
    file: File,
    len: u64,
}

impl FileSource {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened or is a folder.
    pub fn open(path: impl Into<PathBuf>) -> Result<FileSource> {
        let path = path.into();
        let (file, len) = open_regular(&path)?;
        Ok(FileSource { path, file, len })
    }
}

/// Opens a regular file and tells its length.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    if metadata.is_dir() {
        return Err(Error::io(path)(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    Ok((file, metadata.len()))
}

impl ByteSource for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        check_range(self, &range)?;
        let mut buffer = vec![0; (range.end - range.start) as usize];
        read_exact_at(&self.file, &mut buffer, range.start).map_err(Error::io(&self.path))?;
        Ok(Bytes::from(buffer))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        let n = file.seek_read(buffer, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[n..];
        offset += n as u64;
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How [`open_source`] gets at a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// A memory map: for running, where weights are used in place.
    #[default]
    Map,
    /// A memory map that the system is told to keep in memory.
    Locked,
    /// Positioned reads into buffers: for conversion within a memory budget.
    Read,
}

/// Opens a file for random access.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened, or not be locked.
pub fn open_source(path: &Path, access: Access) -> Result<Arc<dyn ByteSource>> {
    Ok(match access {
        Access::Map => Arc::new(crate::MappedSource::open(path)?),
        Access::Locked => Arc::new(crate::MappedSource::locked(path)?),
        Access::Read => Arc::new(FileSource::open(path)?),
    })
}
