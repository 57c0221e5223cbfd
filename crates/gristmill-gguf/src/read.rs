//! The header of a GGUF file: version and byte order, metadata, tensor records.
//!
//! ```text
//! "GGUF" │ version u32 │ n_tensors │ n_metadata │ key, type, value … │ name, n_dims, ne[], type, offset … │ zeros
//! └─ magic               └─ counts: u64, in version 1 u32                                      data ─▶ aligned
//! ```
//!
//! Version 1 (August 2023) counts in 32 bits, versions 2 and 3 in 64; version 3 adds files in big-endian order. The
//! rules enforced here are those of ggml's reader and of its published vulnerabilities: every count is compared with
//! the bytes left before anything is allocated, all sums are checked, names and keys are unique, and no tensor
//! reaches past the file or into another.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use gristmill_tensor::{
    ByteSource, Cursor, DType, Endian, Error, Limits, MetaValue, Metadata, Result, Shape,
    TensorInfo, keys,
};

use crate::input::Input;
use crate::{
    DEFAULT_ALIGNMENT, FORMAT, MAX_DIMS, MAX_KEY_BYTES, MAX_NAME_BYTES, dtype, known, value,
};

/// All that stands in front of the tensor data.
pub(crate) struct Header {
    pub version: u32,
    pub endian: Endian,
    pub metadata: Metadata,
    pub alignment: u64,
    /// In file order.
    pub records: Vec<Record>,
    /// Bytes from the start of the file to the data.
    pub data_start: u64,
}

/// One tensor and where it is.
pub(crate) struct Record {
    pub info: TensorInfo,
    /// Bytes from the start of the data section.
    pub offset: u64,
    /// Where this record stands in the file, for messages.
    at: u64,
}

impl Header {
    /// Reads and checks the header of `source`.
    pub(crate) fn read(source: &dyn ByteSource, limits: &Limits) -> Result<Header> {
        let mut input = Input::new(source, limits)?;
        let at = input.cursor.position();
        let n_tensors = input.count()?;
        let n_entries = input.count()?;
        Limits::check(&source.name(), "the number of tensors", limits.tensors, n_tensors)?;
        Limits::check(
            &source.name(),
            "the number of metadata entries",
            limits.metadata_entries,
            n_entries,
        )?;
        // One character of key and one byte of value; one character of name and one dimension.
        let (entry_bytes, record_bytes) = if input.version == 1 { (10, 25) } else { (14, 33) };
        input.check_fits("metadata entries", n_entries, entry_bytes)?;
        input.check_fits("tensors", n_tensors, record_bytes)?;

        let entries = (0..n_entries).map(|_| read_entry(&mut input)).collect::<Result<Vec<_>>>()?;
        let metadata = Metadata::from_entries(source.name(), entries)
            .map_err(|key| input.cursor.malformed_at(at, format!("key {key} occurs twice")))?;
        let alignment = alignment(&metadata)?;
        let records =
            (0..n_tensors).map(|_| read_record(&mut input)).collect::<Result<Vec<_>>>()?;

        let end = input.cursor.position();
        let data_start = match records.is_empty() {
            true => end,
            false => end
                .checked_next_multiple_of(alignment)
                .ok_or_else(|| input.cursor.malformed("the header ends past the largest offset"))?,
        };
        let header = Header {
            version: input.version,
            endian: input.endian,
            metadata,
            alignment,
            records,
            data_start,
        };
        header.check_layout(&input.cursor, source.len())?;
        known::check(&header.metadata, header.records.iter().map(|record| &record.info))?;
        Ok(header)
    }

    /// Every tensor begins on the alignment, ends inside the file and overlaps no other. Gaps and any order are
    /// accepted: they are untidy but harmless.
    fn check_layout(&self, cursor: &Cursor<'_>, file_len: u64) -> Result<()> {
        let mut spans = Vec::with_capacity(self.records.len());
        for Record { info, offset, at } in &self.records {
            let malformed = |what| cursor.malformed_at(*at, format!("tensor {} {what}", info.name));
            if !offset.is_multiple_of(self.alignment) {
                let what = format!("begins at {offset}, not a multiple of {}", self.alignment);
                return Err(malformed(what));
            }
            let start = self.data_start.saturating_add(*offset);
            let end = start.saturating_add(info.n_bytes());
            if end > file_len {
                let what = format!(
                    "reaches to byte {end} but the file has {file_len}; it is cut short or damaged"
                );
                return Err(malformed(what));
            }
            spans.push((start, end, info, *at));
        }
        spans.sort_unstable_by_key(|&(start, ..)| start);
        for (before, after) in spans.iter().zip(spans.iter().skip(1)) {
            if before.1 > after.0 {
                let what = format!("tensors {} and {} overlap", before.2.name, after.2.name);
                return Err(cursor.malformed_at(after.3, what));
            }
        }
        Ok(())
    }
}

/// `general.alignment`, or its default.
pub(crate) fn alignment(metadata: &Metadata) -> Result<u64> {
    let Some(alignment) = metadata.get_u32(keys::ALIGNMENT)? else { return Ok(DEFAULT_ALIGNMENT) };
    // Values near 2^31 have wrapped other readers' sums, and no tool ever wrote more than a page or two.
    if !alignment.is_power_of_two() || !(8..=65_536).contains(&alignment) {
        let what = format!(
            "{} is {alignment}; it must be a power of two between 8 and 65536",
            keys::ALIGNMENT
        );
        return Err(Error::malformed(metadata.origin(), FORMAT, 0, what));
    }
    Ok(u64::from(alignment))
}

fn read_entry(input: &mut Input<'_>) -> Result<(String, MetaValue)> {
    let key = input.identifier("key", MAX_KEY_BYTES)?;
    let value = value::read(input, &key)?;
    Ok((key, value))
}

fn read_record(input: &mut Input<'_>) -> Result<Record> {
    let at = input.cursor.position();
    let name = input.identifier("tensor name", input.limits.name_bytes.min(MAX_NAME_BYTES))?;
    let file = input.file.clone();
    let malformed = |what| Error::malformed(&file, FORMAT, at, format!("tensor {name} {what}"));
    let unsupported = |what| Error::unsupported(&file, FORMAT, format!("tensor {name} {what}"));

    let n_dims = input.cursor.u32()?;
    let max_dims = input.limits.rank.min(u64::from(MAX_DIMS));
    if u64::from(n_dims) > max_dims {
        return Err(malformed(format!("has {n_dims} dimensions; at most {max_dims} are read")));
    }
    let mut dims = Vec::new();
    for _ in 0..n_dims {
        let ne = input.count()?;
        dims.push(usize::try_from(ne).map_err(|_| malformed(format!("has an extent of {ne}")))?);
    }
    // `ne` is innermost first on disk and nowhere else.
    dims.reverse();
    let id = input.cursor.u32()?;
    let offset = input.cursor.u64()?;
    let dtype = DType::from_ggml_id(id).ok_or_else(|| unsupported(dtype::why_refused(id)))?;
    if input.endian == Endian::Big && dtype::words(dtype).is_none() {
        let what = format!(
            "is {dtype}, whose big-endian form nobody has defined; use the little-endian file"
        );
        return Err(unsupported(what));
    }
    let info = TensorInfo::new(name.clone(), dtype, Shape::new(dims));
    check_size(&info).map_err(malformed)?;
    Ok(Record { info, offset, at })
}

/// Refuses extents of zero, sizes that overflow and rows that are not whole blocks.
pub(crate) fn check_size(info: &TensorInfo) -> std::result::Result<(), String> {
    let (shape, dtype) = (&info.shape, info.dtype);
    if shape.dims().contains(&0) {
        return Err(format!("has the shape {shape}; extents of zero are not allowed"));
    }
    if shape.checked_numel().is_none_or(|numel| i64::try_from(numel).is_err()) {
        return Err(format!("has the shape {shape}, more elements than can be counted"));
    }
    if !shape.row_len().is_multiple_of(dtype.block_len()) {
        return Err(format!(
            "has rows of {} elements, not whole {dtype} blocks of {}",
            shape.row_len(),
            dtype.block_len()
        ));
    }
    match info.checked_bytes() {
        Some(_) => Ok(()),
        None => Err(format!("has the shape {shape}, more bytes than can be counted")),
    }
}
