//! Files made by hand, independently of the writer; and helpers to open them.

use std::sync::Arc;

use gristmill_safetensors::{Reader, Safetensors};
use gristmill_tensor::{
    AtomicFile, Checkpoint, Format, Limits, MemorySource, Metadata, ModelHeader, Result, TensorInfo,
};

/// A file of this header and `n` bytes of data.
pub(crate) fn file(json: &str, n: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend((0..n).map(|i| i as u8));
    bytes
}

pub(crate) fn open(bytes: &[u8]) -> Result<Reader> {
    open_within(bytes, &Limits::default())
}

pub(crate) fn open_within(bytes: &[u8], limits: &Limits) -> Result<Reader> {
    Reader::new(Arc::new(MemorySource::new("test.safetensors", bytes.to_vec())), limits)
}

/// The message of a file that must not open.
pub(crate) fn refusal(json: &str, n: usize) -> String {
    open(&file(json, n)).err().expect("the file must be refused").to_string()
}

/// Writes a file of these tensors and gives its bytes.
pub(crate) fn write(metadata: &Metadata, tensors: &[(TensorInfo, Vec<u8>)]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
    let header = ModelHeader { metadata, tensors: &infos };
    let sink = Safetensors.create(AtomicFile::create(&path, false)?, &header)?;
    for (position, (_, bytes)) in tensors.iter().enumerate() {
        sink.write(position, 0, bytes)?;
    }
    sink.finish()?;
    Ok(std::fs::read(path).unwrap())
}

/// Reads every tensor and checks that the sizes are as described.
pub(crate) fn read_all(model: &dyn Checkpoint) {
    for info in model.tensors() {
        let tensor = model.tensor(&info.name).unwrap();
        assert_eq!(tensor.bytes.len() as u64, info.n_bytes());
        let rows = info.shape.rows();
        if rows > 0 {
            let last = model.read(&info.name, rows - 1..rows).unwrap();
            assert!(tensor.bytes.ends_with(&last));
        }
    }
}
