//! A new file in which each tensor has one run of bytes, for writers of such formats.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{AtomicFile, Error, Result, TensorInfo, TensorSink};

/// A sink over an [`AtomicFile`]. What lies between the tensors is zero.
#[derive(Debug)]
pub struct FileSink {
    file: AtomicFile,
    slots: Vec<Slot>,
}

/// The place of one tensor.
#[derive(Debug)]
struct Slot {
    name: String,
    /// Bytes from the start of the file.
    start: u64,
    len: u64,
    /// How many bytes have arrived.
    written: AtomicU64,
}

impl FileSink {
    /// Gives `file` its final length and writes `header` at its beginning. Each tensor comes with the byte at which it
    /// begins.
    ///
    /// # Errors
    /// [`Error::Io`].
    ///
    /// # Panics
    /// When a tensor does not lie between the header and `len`: writers have computed these places themselves.
    pub fn create<'a>(
        file: AtomicFile,
        len: u64,
        header: &[u8],
        tensors: impl IntoIterator<Item = (&'a TensorInfo, u64)>,
    ) -> Result<FileSink> {
        let slot = |(info, start): (&TensorInfo, u64)| {
            let n = info.n_bytes();
            let end = start.checked_add(n);
            assert!(
                start >= header.len() as u64 && end.is_some_and(|end| end <= len),
                "tensor {} lies between the header and the end",
                info.name
            );
            Slot { name: info.name.clone(), start, len: n, written: AtomicU64::new(0) }
        };
        let slots = tensors.into_iter().map(slot).collect();
        file.set_len(len)?;
        file.write_at(0, header)?;
        Ok(FileSink { file, slots })
    }

    /// Writes bytes that belong to no tensor, at `offset` from the start of the file: what is known only when the
    /// tensors have been written, such as their checksums. The file grows if they reach past its end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_between(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }
}

impl TensorSink for FileSink {
    fn write(&self, tensor: usize, offset: u64, slab: &[u8]) -> Result<()> {
        let slot = &self.slots[tensor];
        let n = slab.len() as u64;
        assert!(
            offset.checked_add(n).is_some_and(|end| end <= slot.len),
            "a slab of {n} bytes at {offset} stays inside tensor {} of {} bytes",
            slot.name,
            slot.len
        );
        self.file.write_at(slot.start + offset, slab)?;
        slot.written.fetch_add(n, Ordering::Relaxed);
        Ok(())
    }

    /// Also refuses, as [`Error::Missing`], a file of which some bytes were never written: they would read back as
    /// zeros, and nobody would notice.
    fn finish(self: Box<Self>) -> Result<()> {
        for slot in &self.slots {
            let written = slot.written.load(Ordering::Relaxed);
            if written < slot.len {
                let file = self.file.target().display().to_string();
                let missing = slot.len - written;
                let what = format!("{missing} of {} bytes of tensor {}", slot.len, slot.name);
                return Err(Error::missing(file, what));
            }
        }
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn a_file_is_finished_when_every_byte_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.bin");
        let info = TensorInfo::new("a", DType::I8, [4]);
        let create = || {
            let file = AtomicFile::create(&target, false).unwrap();
            Box::new(FileSink::create(file, 10, b"head", [(&info, 5)]).unwrap())
        };
        let sink = create();
        sink.write(0, 2, &[3, 4]).unwrap();
        assert!(sink.finish().unwrap_err().to_string().contains("2 of 4 bytes of tensor a"));
        assert!(!target.exists());

        let sink = create();
        sink.write(0, 2, &[3, 4]).unwrap();
        sink.write(0, 0, &[1, 2]).unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"head\0\x01\x02\x03\x04\0");
    }
}
