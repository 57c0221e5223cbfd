//! Output files that appear complete or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::{Error, Result};

/// A file written under a temporary name beside its target and renamed by [`finish`](Self::finish). Dropped without
/// it, the temporary file is removed and the target is untouched.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    partial: PathBuf,
    file: Arc<File>,
    /// Held while writing. Systems let one writer at a time into a file anyway, but let the others spin.
    unsynced: Mutex<Unsynced>,
    overwrite: bool,
    finished: bool,
}

impl AtomicFile {
    /// Starts a file that will appear at `target`.
    ///
    /// # Errors
    /// [`Error::Exists`] when the target is there and `overwrite` is false, [`Error::Io`] when the folder cannot be
    /// written.
    pub fn create(target: impl Into<PathBuf>, overwrite: bool) -> Result<AtomicFile> {
        let target = target.into();
        refuse_existing(&target, overwrite)?;
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let partial = target.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&partial)
            .map_err(Error::io(&target))?;
        let (file, unsynced) = (Arc::new(file), Mutex::default());
        Ok(AtomicFile { target, partial, file, unsynced, overwrite, finished: false })
    }

    /// Where the file will appear.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Sets the length at once, so that slabs may be written in any order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(Error::io(&self.target))
    }

    /// Writes all of `bytes` at `offset`; several threads may do so at once. The system is asked early to store what
    /// was written, so that [`finish`](Self::finish) need not wait for all of it.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk among them.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        write_all_at(&self.file, bytes, offset)
            .and_then(|()| unsynced.add(bytes.len() as u64, &self.file))
            .map_err(Error::io(&self.target))
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// [`Error::Exists`] when somebody else made the target meanwhile, [`Error::Io`].
    pub fn finish(mut self) -> Result<()> {
        let unsynced = self.unsynced.get_mut().unwrap_or_else(PoisonError::into_inner);
        unsynced.wait().and_then(|()| self.file.sync_all()).map_err(Error::io(&self.target))?;
        refuse_existing(&self.target, self.overwrite)?;
        fs::rename(&self.partial, &self.target).map_err(Error::io(&self.target))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing can be done, nor need be, when the partial file cannot be removed.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Written bytes of which the system was not yet told that they are wanted on the disk.
#[derive(Debug, Default)]
struct Unsynced {
    bytes: u64,
    /// The thread that waits for the bytes before them. Its error is its own: the system tells it once.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Unsynced {
    /// How many are worth a thread.
    const ENOUGH: u64 = 64 << 20;

    fn add(&mut self, bytes: u64, file: &Arc<File>) -> io::Result<()> {
        self.bytes += bytes;
        if self.bytes < Self::ENOUGH || self.thread.as_ref().is_some_and(|t| !t.is_finished()) {
            return Ok(());
        }
        self.wait()?;
        self.bytes = 0;
        let file = Arc::clone(file);
        // Where there can be no thread, everything is left to the end.
        self.thread = thread::Builder::new().spawn(move || file.sync_data()).ok();
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        let result = self.thread.take().map(JoinHandle::join);
        result.unwrap_or(Ok(Ok(()))).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn refuse_existing(target: &Path, overwrite: bool) -> Result<()> {
    if target.is_dir() {
        return Err(Error::io(target)(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if !overwrite && target.exists() {
        return Err(Error::Exists { path: target.into() });
    }
    Ok(())
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        let n = file.seek_write(bytes, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[n..];
        offset += n as u64;
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn write_all_at(_: &File, _: &[u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appears_complete_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.bin");
        let file = AtomicFile::create(&target, false).unwrap();
        file.write_at(2, b"cd").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        let file = AtomicFile::create(&target, false).unwrap();
        file.write_at(2, b"cd").unwrap();
        file.write_at(0, b"ab").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"abcd");
        assert!(matches!(AtomicFile::create(&target, false), Err(Error::Exists { .. })));
    }

    #[test]
    fn much_is_synced_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::create(folder.path().join("out.bin"), false).unwrap();
        let half = vec![7; Unsynced::ENOUGH as usize / 2];
        let begun = |file: &AtomicFile| file.unsynced.lock().unwrap().thread.is_some();
        file.write_at(0, &half).unwrap();
        assert!(!begun(&file));
        file.write_at(half.len() as u64, &half).unwrap();
        assert!(begun(&file));
        file.finish().unwrap();
    }
}
