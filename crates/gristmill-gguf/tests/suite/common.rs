//! Files made by hand, independently of the writer, in every version and byte order; and helpers to open them.

use std::path::Path;
use std::sync::Arc;

use gristmill_gguf::{Gguf, Reader};
use gristmill_tensor::{
    AtomicFile, Checkpoint, Format, Limits, MemorySource, Metadata, ModelHeader, Result, TensorInfo,
};

/// A file in the making: numbers and strings in the byte order and widths of its version.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: u32,
    pub(crate) big: bool,
    /// Whether strings end in a NUL, as those of the first writers did.
    pub(crate) nul: bool,
}

impl Raw {
    /// Magic and version.
    pub(crate) fn new(version: u32, big: bool, nul: bool) -> Raw {
        let mut raw = Raw { bytes: b"GGUF".to_vec(), version, big, nul };
        raw.u32(version);
        raw
    }

    pub(crate) fn v3() -> Raw {
        Raw::new(3, false, false)
    }

    fn put(&mut self, little: &[u8]) -> &mut Raw {
        match self.big {
            false => self.bytes.extend(little),
            true => self.bytes.extend(little.iter().rev()),
        }
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Raw {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Raw {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn f32(&mut self, value: f32) -> &mut Raw {
        self.put(&value.to_le_bytes())
    }

    /// A count, length or extent.
    pub(crate) fn count(&mut self, value: u64) -> &mut Raw {
        match self.version {
            1 => self.u32(value as u32),
            _ => self.u64(value),
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Raw {
        self.bytes.extend(bytes);
        self
    }

    pub(crate) fn string(&mut self, text: &[u8]) -> &mut Raw {
        self.count(text.len() as u64 + u64::from(self.nul)).raw(text);
        if self.nul { self.raw(b"\0") } else { self }
    }

    pub(crate) fn counts(&mut self, n_tensors: u64, n_entries: u64) -> &mut Raw {
        self.count(n_tensors).count(n_entries)
    }

    pub(crate) fn text_entry(&mut self, key: &str, value: &[u8]) -> &mut Raw {
        self.string(key.as_bytes()).u32(8).string(value)
    }

    pub(crate) fn u32_entry(&mut self, key: &str, value: u32) -> &mut Raw {
        self.string(key.as_bytes()).u32(4).u32(value)
    }

    /// A tensor record; `ne` is innermost first.
    pub(crate) fn record(&mut self, name: &str, ne: &[u64], dtype: u32, offset: u64) -> &mut Raw {
        self.string(name.as_bytes()).u32(ne.len() as u32);
        ne.iter().for_each(|&ne| {
            self.count(ne);
        });
        self.u32(dtype).u64(offset)
    }

    /// Zeros up to a multiple of `alignment`.
    pub(crate) fn pad(&mut self, alignment: usize) -> &mut Raw {
        let len = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(len, 0);
        self
    }

    pub(crate) fn open(&self) -> Result<Reader> {
        open(&self.bytes)
    }
}

pub(crate) fn open(bytes: &[u8]) -> Result<Reader> {
    Reader::new(Arc::new(MemorySource::new("test.gguf", bytes.to_vec())), &Limits::default())
}

/// The message of a file that must not open.
pub(crate) fn refusal(raw: &Raw) -> String {
    raw.open().err().expect("the file must be refused").to_string()
}

/// Writes a file of these tensors and gives its bytes.
pub(crate) fn write(metadata: &Metadata, tensors: &[(TensorInfo, Vec<u8>)]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write_to(&path, metadata, tensors)?;
    Ok(std::fs::read(path).unwrap())
}

pub(crate) fn write_to(
    path: &Path,
    metadata: &Metadata,
    tensors: &[(TensorInfo, Vec<u8>)],
) -> Result<()> {
    let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
    let file = AtomicFile::create(path, true)?;
    let sink = Gguf.create(file, &ModelHeader { metadata, tensors: &infos })?;
    for (position, (_, bytes)) in tensors.iter().enumerate() {
        sink.write(position, 0, bytes)?;
    }
    sink.finish()
}

/// Reads every tensor, whole and by its last row, and checks that the sizes are as described.
pub(crate) fn read_all(model: &dyn Checkpoint) {
    for info in model.tensors() {
        let tensor = model.tensor(&info.name).unwrap();
        assert_eq!(tensor.bytes.len() as u64, info.n_bytes());
        let rows = info.shape.rows();
        let last = model.read(&info.name, rows - 1..rows).unwrap();
        assert!(tensor.bytes.ends_with(&last));
    }
}
