//! Writing GGUF: version 3, little-endian.
//!
//! The whole header is known at once, so it is written first, together with the final length; the gaps between
//! tensors are zeros because the file was extended, not filled. Then slabs arrive in any order, from any thread, each
//! at its own place. Records stand in the order of the data and offsets are the running sum of padded sizes, which is
//! what ggml insists on when it reads.

use std::collections::HashSet;

use gristmill_tensor::{
    AtomicFile, Error, FileSink, MetaValue, ModelHeader, Result, TensorInfo, keys,
};

use crate::value::{write_len, write_string, write_u32};
use crate::{FORMAT, MAGIC, MAX_DIMS, MAX_KEY_BYTES, MAX_NAME_BYTES, input, known, read, value};

/// Writes the header and reserves the place of every tensor.
pub(crate) fn create(file: AtomicFile, header: &ModelHeader<'_>) -> Result<FileSink> {
    known::check(header.metadata, header.tensors)?;
    let target = file.target().display().to_string();
    let layout = layout(header).map_err(|what| Error::unsupported(target, FORMAT, what))?;
    let places = header.tensors.iter().zip(layout.starts);
    FileSink::create(file, layout.len, &layout.header, places)
}

/// The front of a file and the places behind it.
struct Layout {
    header: Vec<u8>,
    /// Where each tensor begins, in bytes from the start of the file.
    starts: Vec<u64>,
    /// Bytes of the whole file.
    len: u64,
}

/// Lays a file out, or says why GGUF cannot hold this model.
fn layout(header: &ModelHeader<'_>) -> std::result::Result<Layout, String> {
    let ModelHeader { metadata, tensors } = *header;
    let alignment = read::alignment(metadata).map_err(|error| error.to_string())?;
    let mut names = HashSet::new();
    for info in tensors {
        check(info).map_err(|what| format!("tensor {} {what}", info.name))?;
        if !names.insert(&info.name) {
            return Err(format!("tensor {} occurs twice", info.name));
        }
    }

    let mut out = MAGIC.to_vec();
    write_u32(3, &mut out);
    write_len(tensors.len(), &mut out);
    write_len(metadata.len(), &mut out);
    // Stable, so that only the architecture moves: by convention it comes first.
    let mut entries: Vec<(&str, &MetaValue)> = metadata.iter().collect();
    entries.sort_by_key(|(key, _)| *key != keys::ARCHITECTURE);
    for (key, entry) in entries {
        input::check_identifier(key, MAX_KEY_BYTES).map_err(|why| format!("key {key:?} {why}"))?;
        write_string(key.as_bytes(), &mut out);
        value::write(entry, &mut out);
    }

    let too_large = "the tensors together are larger than any file";
    let mut offset = 0u64;
    let mut offsets = Vec::with_capacity(tensors.len());
    for info in tensors {
        write_record(info, offset, &mut out);
        offsets.push(offset);
        let end = offset.checked_add(info.n_bytes());
        offset = end.and_then(|end| end.checked_next_multiple_of(alignment)).ok_or(too_large)?;
    }
    // Without tensors there is nothing to align.
    let alignment = if tensors.is_empty() { 1 } else { alignment };
    let data_start = (out.len() as u64).next_multiple_of(alignment);
    let len = data_start.checked_add(offset).ok_or(too_large)?;
    let starts = offsets.iter().map(|offset| data_start + offset).collect();
    Ok(Layout { header: out, starts, len })
}

fn check(info: &TensorInfo) -> std::result::Result<(), String> {
    input::check_identifier(&info.name, MAX_NAME_BYTES)
        .map_err(|why| format!("has a name that {why}"))?;
    if info.shape.rank() > MAX_DIMS as usize {
        return Err(format!("has {} dimensions; GGUF allows {MAX_DIMS}", info.shape.rank()));
    }
    if info.dtype.ggml_id().is_none() {
        return Err(format!("is {}, which GGUF cannot store", info.dtype));
    }
    read::check_size(info)
}

fn write_record(info: &TensorInfo, offset: u64, out: &mut Vec<u8>) {
    write_string(info.name.as_bytes(), out);
    // Not every reader knows tensors without dimensions, so a scalar becomes a vector of one.
    let dims = if info.shape.rank() == 0 { &[1][..] } else { info.shape.dims() };
    write_u32(dims.len() as u32, out);
    dims.iter().rev().for_each(|&dim| write_len(dim, out));
    write_u32(info.dtype.ggml_id().expect("the dtype was checked"), out);
    out.extend(offset.to_le_bytes());
}
