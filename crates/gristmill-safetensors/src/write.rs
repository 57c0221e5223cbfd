//! Writing one safetensors file.
//!
//! Entries and data stand in the order in which the tensors are given. The header is padded with blanks so that the
//! data begins at a multiple of 8; tensors follow each other without gaps, as readers demand. `__metadata__` says
//! `{"format": "pt"}`, without which transformers refuses a file, unless the source said something else.

use std::collections::HashSet;

use gristmill_tensor::{AtomicFile, Error, FileSink, Limits, ModelHeader, Result, TensorInfo};
use serde_json::{Map, Value, json};

use crate::{FORMAT, KEY_PREFIX, MAX_HEADER_BYTES, METADATA};

/// Writes the header and reserves the place of every tensor.
pub(crate) fn create(file: AtomicFile, header: &ModelHeader<'_>) -> Result<FileSink> {
    let target = file.target().display().to_string();
    let layout = layout(header).map_err(|what| Error::unsupported(target, FORMAT, what))?;
    FileSink::create(file, layout.len, &layout.header, header.tensors.iter().zip(layout.starts))
}

/// The front of a file and the places behind it.
struct Layout {
    header: Vec<u8>,
    /// Where each tensor begins, in bytes from the start of the file.
    starts: Vec<u64>,
    /// Bytes of the whole file.
    len: u64,
}

/// Lays a file out, or says why safetensors cannot hold this model.
fn layout(header: &ModelHeader<'_>) -> std::result::Result<Layout, String> {
    let mut entries = Map::new();
    entries.insert(METADATA.into(), Value::Object(texts(header)));
    let mut names = HashSet::new();
    let mut offsets = Vec::with_capacity(header.tensors.len());
    let mut offset = 0u64;
    for info in header.tensors {
        let n = check(info).map_err(|what| format!("tensor {} {what}", info.name))?;
        if !names.insert(&info.name) {
            return Err(format!("tensor {} occurs twice", info.name));
        }
        let end = offset.checked_add(n).ok_or("the tensors together are larger than any file")?;
        let entry = json!({
            "dtype": info.dtype.name(),
            "shape": info.shape.dims(),
            "data_offsets": [offset, end],
        });
        entries.insert(info.name.clone(), entry);
        offsets.push(offset);
        offset = end;
    }

    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let n = json.len() as u64;
    if n > MAX_HEADER_BYTES {
        return Err(format!("the header has {n} bytes; readers accept {MAX_HEADER_BYTES}"));
    }
    let header = [&n.to_le_bytes()[..], &json].concat();
    let data_start = header.len() as u64;
    let starts = offsets.iter().map(|offset| data_start + offset).collect();
    let len =
        data_start.checked_add(offset).ok_or("the tensors together are larger than any file")?;
    Ok(Layout { header, starts, len })
}

/// What goes into `__metadata__`: the texts that came out of it. GGUF's keys have no place in this format.
fn texts(header: &ModelHeader<'_>) -> Map<String, Value> {
    let mut texts = Map::new();
    texts.insert("format".into(), "pt".into());
    for (key, value) in header.metadata.iter() {
        if let (Some(key), Some(text)) = (key.strip_prefix(KEY_PREFIX), value.as_str()) {
            texts.insert(key.into(), text.into());
        }
    }
    texts
}

/// The tensor's size in bytes, if the format can hold it.
fn check(info: &TensorInfo) -> std::result::Result<u64, String> {
    let limits = Limits::default();
    if info.name == METADATA || info.name.contains(char::is_control) {
        return Err("has a name that the format does not allow".into());
    }
    if info.name.len() as u64 > limits.name_bytes {
        let n = info.name.len();
        return Err(format!("has a name of {n} bytes; at most {} are read", limits.name_bytes));
    }
    if info.shape.rank() as u64 > limits.rank {
        let rank = info.shape.rank();
        return Err(format!("has {rank} dimensions; at most {} are read", limits.rank));
    }
    if info.dtype.is_quantized() {
        return Err(format!(
            "is {}, but safetensors holds only plain numbers; dequantize it or write GGUF",
            info.dtype
        ));
    }
    // The prefix products of the shape must fit as well: that is how readers compute them.
    info.shape
        .checked_numel()
        .and_then(|_| info.checked_bytes())
        .ok_or_else(|| format!("has the shape {}, more bytes than can be counted", info.shape))
}
