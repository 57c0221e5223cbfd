//! Writing GGUF: version 3, little-endian.
//!
//! The whole header is known at once, so it is written first, together with the final length; the gaps between
//! tensors are zeros because the file was extended, not filled. Then slabs arrive in any order, from any thread, each
//! at its own place. Records stand in the order of the data and offsets are the running sum of padded sizes, which is
//! what ggml insists on when it reads.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill_tensor::{
    AtomicFile, Error, MetaValue, ModelHeader, Result, TensorInfo, TensorSink, keys,
};

use crate::value::{write_len, write_string, write_u32};
use crate::{FORMAT, MAGIC, MAX_DIMS, MAX_KEY_BYTES, MAX_NAME_BYTES, input, known, read, value};

/// A GGUF file that is being written.
pub(crate) struct Sink {
    file: AtomicFile,
    slots: Vec<Slot>,
}

/// The place of one tensor.
struct Slot {
    name: String,
    /// Bytes from the start of the file.
    start: u64,
    len: u64,
    /// How many bytes have arrived.
    written: AtomicU64,
}

impl Sink {
    /// Writes the header and reserves the place of every tensor.
    pub(crate) fn create(file: AtomicFile, header: &ModelHeader<'_>) -> Result<Sink> {
        known::check(header.metadata, header.tensors)?;
        let target = file.target().display().to_string();
        let (bytes, slots, len) =
            layout(header).map_err(|what| Error::unsupported(target, FORMAT, what))?;
        file.set_len(len)?;
        file.write_at(0, &bytes)?;
        Ok(Sink { file, slots })
    }
}

impl TensorSink for Sink {
    fn write(&self, tensor: usize, offset: u64, slab: &[u8]) -> Result<()> {
        let slot = &self.slots[tensor];
        let n = slab.len() as u64;
        assert!(
            offset.checked_add(n).is_some_and(|end| end <= slot.len),
            "a slab of {n} bytes at {offset} leaves tensor {} of {} bytes",
            slot.name,
            slot.len
        );
        self.file.write_at(slot.start + offset, slab)?;
        slot.written.fetch_add(n, Ordering::Relaxed);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        // Places never written would read back as zeros, and nobody would notice.
        for slot in &self.slots {
            let written = slot.written.load(Ordering::Relaxed);
            if written < slot.len {
                let what =
                    format!("{} of {} bytes of tensor {}", slot.len - written, slot.len, slot.name);
                return Err(Error::missing(self.file.target().display().to_string(), what));
            }
        }
        self.file.finish()
    }
}

/// The header's bytes, the place of every tensor and the length of the file, or why GGUF cannot hold this model.
fn layout(header: &ModelHeader<'_>) -> std::result::Result<(Vec<u8>, Vec<Slot>, u64), String> {
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

    let mut offset = 0u64;
    let mut slots = Vec::with_capacity(tensors.len());
    for info in tensors {
        write_record(info, offset, &mut out);
        let len = info.n_bytes();
        slots.push(Slot {
            name: info.name.clone(),
            start: offset,
            len,
            written: AtomicU64::new(0),
        });
        offset = offset
            .checked_add(len)
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .ok_or("the tensors together are larger than any file")?;
    }
    if tensors.is_empty() {
        let len = out.len() as u64;
        return Ok((out, slots, len));
    }
    let data_start = (out.len() as u64).next_multiple_of(alignment);
    for slot in &mut slots {
        slot.start += data_start;
    }
    let len =
        data_start.checked_add(offset).ok_or("the tensors together are larger than any file")?;
    Ok((out, slots, len))
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
    // Readers before 2024 know no tensor without dimensions: a scalar is a vector of one.
    let dims = if info.shape.rank() == 0 { &[1][..] } else { info.shape.dims() };
    write_u32(dims.len() as u32, out);
    dims.iter().rev().for_each(|&dim| write_len(dim, out));
    write_u32(info.dtype.ggml_id().expect("the dtype was checked"), out);
    out.extend(offset.to_le_bytes());
}
