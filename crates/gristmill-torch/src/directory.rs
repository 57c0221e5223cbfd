//! Letting the `zip` crate read an archive's directory within a budget.
//!
//! The crate trusts two numbers of the file when it reserves memory: how many members the directory has and how long
//! the zip64 end record is. [`read`] looks at every record that the crate may take them from and refuses what no
//! checkpoint needs. While the directory is read, [`Reader`] also counts the bytes it hands out.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill_tensor::{ByteSource, Bytes, Cursor, Error, Limits, Result};
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipResult;

use crate::FORMAT;

/// The end record: signature, length without its comment, and the longest comment.
const END: &[u8] = b"PK\x05\x06";
const END_LEN: u64 = 22;
const MAX_COMMENT: u64 = 0xffff;

/// The zip64 locator just before the end record, and the zip64 end record it points to.
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_LEN: u64 = 20;
const END64: &[u8] = b"PK\x06\x06";
/// What the zip64 end record says its length is, counted from behind this number, when nothing is added to it.
const END64_LEN: u64 = 44;

/// Members besides the storages.
const OTHER_MEMBERS: u64 = 64;

/// How much is fetched at once: at least, for the headers of many members are far apart, and at most.
const MIN_WINDOW: usize = 4 << 10;
const MAX_WINDOW: usize = 1 << 20;

/// Reads the directory; the outer error is ours, the inner one is the crate's.
pub(crate) fn read(
    source: &Arc<dyn ByteSource>,
    limits: &Limits,
) -> Result<ZipResult<ZipArchive<Reader>>> {
    check_claims(&**source, limits)?;
    let budget = Arc::new(AtomicU64::new(limits.header_bytes));
    let reader = Reader {
        source: Arc::clone(source),
        position: 0,
        window_start: 0,
        window: Bytes::from(Vec::new()),
        budget: Arc::clone(&budget),
    };
    // An archive behind other data would have to be searched for, all through the file.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, reader);
    budget.store(u64::MAX, Ordering::Relaxed);
    Ok(archive)
}

/// Checks the claims of every zip64 end record that an end record near the end of the file leads to.
fn check_claims(source: &dyn ByteSource, limits: &Limits) -> Result<()> {
    let tail_start = source.len().saturating_sub(END_LEN.saturating_add(MAX_COMMENT));
    let tail = source.read(tail_start..source.len())?;
    for (at, _) in tail.windows(END.len()).enumerate().filter(|(_, bytes)| *bytes == END) {
        let at = tail_start.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
        let mut cursor = Cursor::new(source, FORMAT);
        cursor.seek(at.saturating_sub(LOCATOR_LEN));
        if at < LOCATOR_LEN || *cursor.bytes(4)? != *LOCATOR {
            continue;
        }
        cursor.u32()?;
        let end64 = cursor.u64()?;
        cursor.seek(end64);
        if cursor.remaining() < END64_LEN || *cursor.bytes(4)? != *END64 {
            continue;
        }
        let len = cursor.u64()?;
        if len != END64_LEN {
            let what = format!("the zip64 end record is {len} bytes long instead of {END64_LEN}");
            return Err(Error::malformed(source.name(), FORMAT, end64, what));
        }
        cursor.seek(cursor.position().saturating_add(20));
        let members = cursor.u64()?;
        let limit = limits.tensors.saturating_add(OTHER_MEMBERS);
        Limits::check(&source.name(), "the number of members of the zip", limit, members)?;
    }
    Ok(())
}

/// A [`ByteSource`] as the `zip` crate wants it.
#[derive(Clone)]
pub(crate) struct Reader {
    source: Arc<dyn ByteSource>,
    position: u64,
    window_start: u64,
    window: Bytes,
    /// Bytes that may still be read, by all clones together.
    budget: Arc<AtomicU64>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let inside = self.position.checked_sub(self.window_start);
        let mut offset = inside.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        if offset >= self.window.len() {
            let start = self.position.min(self.source.len());
            let window = buffer.len().clamp(MIN_WINDOW, MAX_WINDOW);
            let window = u64::try_from(window).unwrap_or(u64::MAX);
            let end = start.saturating_add(window).min(self.source.len());
            self.window = self.source.read(start..end).map_err(io::Error::other)?;
            self.window_start = start;
            offset = 0;
        }
        let available = self.window.get(offset..).unwrap_or_default();
        let n = available.len().min(buffer.len());
        let spent = u64::try_from(n).unwrap_or(u64::MAX);
        let pay = |budget: u64| budget.checked_sub(spent);
        if self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_err() {
            return Err(io::Error::other("the directory is larger than any checkpoint needs"));
        }
        let (to, from) = (buffer.get_mut(..n), available.get(..n));
        to.unwrap_or_default().copy_from_slice(from.unwrap_or_default());
        self.position = self.position.saturating_add(spent);
        Ok(n)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.source.len().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
