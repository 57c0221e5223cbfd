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
    ByteSource, Cursor, DType, Endian, Error, Limits, Metadata, Result, Shape, TensorInfo, keys,
};

use crate::{DEFAULT_ALIGNMENT, FORMAT, MAGIC, MAX_DIMS, MAX_NAME_BYTES, dtype, known, value};

/// ggml gives keys no limit of their own; this one is the specification's.
const MAX_KEY_BYTES: u64 = 65_535;

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
        input.check_fits("metadata entries", n_entries, input.smallest_entry())?;
        input.check_fits("tensors", n_tensors, input.smallest_record())?;

        let entries = (0..n_entries).map(|_| input.entry()).collect::<Result<Vec<_>>>()?;
        let metadata = Metadata::from_entries(source.name(), entries)
            .map_err(|key| input.cursor.malformed_at(at, format!("key {key} occurs twice")))?;
        let alignment = alignment(&metadata)?;
        let records = (0..n_tensors).map(|_| input.record()).collect::<Result<Vec<_>>>()?;

        let end = input.cursor.position();
        let data_start = match records.is_empty() {
            true => end,
            false => end
                .checked_next_multiple_of(alignment)
                .ok_or_else(|| input.cursor.malformed("the header ends past the largest offset"))?,
        };
        let header =
            Header { version: input.version, endian: input.endian, metadata, alignment, records, data_start };
        header.check_layout(&input.cursor, source.len())?;
        known::check(&header.metadata, &header.records)?;
        Ok(header)
    }

    /// Every tensor begins on the alignment, ends inside the file and overlaps no other. Gaps and any order are
    /// accepted: they are untidy but harmless.
    fn check_layout(&self, cursor: &Cursor<'_>, file_len: u64) -> Result<()> {
        let mut spans = Vec::with_capacity(self.records.len());
        for Record { info, offset, at } in &self.records {
            if !offset.is_multiple_of(self.alignment) {
                let what = format!(
                    "tensor {} begins at {offset}, not a multiple of {}",
                    info.name, self.alignment
                );
                return Err(cursor.malformed_at(*at, what));
            }
            let start = self.data_start.checked_add(*offset);
            let end = start.and_then(|start| start.checked_add(info.n_bytes()));
            match (start, end) {
                (Some(start), Some(end)) if end <= file_len => spans.push((start, end, info, *at)),
                _ => {
                    let end = end.map_or("the largest offset".to_owned(), |end| format!("byte {end}"));
                    let what = format!(
                        "tensor {} reaches to {end} but the file has {file_len} bytes; it is cut short or damaged",
                        info.name
                    );
                    return Err(cursor.malformed_at(*at, what));
                }
            }
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

/// A cursor that knows the version, the byte order and the budget.
pub(crate) struct Input<'a> {
    pub cursor: Cursor<'a>,
    version: u32,
    endian: Endian,
    limits: &'a Limits,
    file: String,
}

impl<'a> Input<'a> {
    /// Reads the magic and the version, which tells the byte order.
    fn new(source: &'a dyn ByteSource, limits: &'a Limits) -> Result<Input<'a>> {
        let mut cursor = Cursor::new(source, FORMAT);
        if *cursor.bytes(4)? != *MAGIC {
            return Err(cursor.malformed_at(0, "the file does not begin with GGUF"));
        }
        let mut version = cursor.u32()?;
        let mut endian = Endian::Little;
        // The magic is never swapped; the version, a small number, shows the order of everything after it.
        if version.trailing_zeros() >= 16 {
            (version, endian) = (version.swap_bytes(), Endian::Big);
        }
        if !(1..=3).contains(&version) {
            let what = format!("version {version} is unknown; versions 1, 2 and 3 are read");
            return Err(cursor.malformed_at(4, what));
        }
        cursor.set_endian(endian);
        Ok(Input { cursor, version, endian, limits, file: source.name() })
    }

    /// The bytes a count or length takes in this version.
    pub(crate) fn count_bytes(&self) -> u64 {
        if self.version == 1 { 4 } else { 8 }
    }

    /// One character of key and one byte of value.
    fn smallest_entry(&self) -> u64 {
        if self.version == 1 { 10 } else { 14 }
    }

    /// One character of name and one dimension.
    fn smallest_record(&self) -> u64 {
        if self.version == 1 { 25 } else { 33 }
    }

    /// A count or length.
    pub(crate) fn count(&mut self) -> Result<u64> {
        match self.version {
            1 => self.cursor.u32().map(u64::from),
            _ => self.cursor.u64(),
        }
    }

    /// Refuses `n` things of at least `size` bytes when the rest of the file cannot hold them.
    pub(crate) fn check_fits(&self, things: &str, n: u64, size: u64) -> Result<()> {
        let left = self.cursor.remaining();
        match n.checked_mul(size) {
            Some(bytes) if bytes <= left => Ok(()),
            _ => Err(self.cursor.malformed(format!(
                "{n} {things} do not fit into the {left} bytes that are left; the file is cut short or damaged"
            ))),
        }
    }

    /// Refuses arrays above the budget.
    pub(crate) fn check_array_len(&self, key: &str, n: u64) -> Result<()> {
        Limits::check(&self.file, &format!("the length of {key}"), self.limits.array_len, n)
    }

    /// `n` numbers of `N` bytes.
    pub(crate) fn numbers<T, const N: usize>(
        &mut self,
        n: u64,
        little: fn([u8; N]) -> T,
        big: fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let size = u64::try_from(N).expect("a number has few bytes");
        self.check_fits("numbers", n, size)?;
        let bytes = self.cursor.bytes(n.saturating_mul(size))?;
        let parse = match self.endian {
            Endian::Little => little,
            Endian::Big => big,
        };
        Ok(bytes.as_chunks().0.iter().map(|&number| parse(number)).collect())
    }

    /// The bytes of a string; `key` says which, in messages.
    pub(crate) fn string(&mut self, key: &str) -> Result<Vec<u8>> {
        let n = self.count()?;
        self.bounded_string(key, n, self.limits.string_bytes)
    }

    fn bounded_string(&mut self, key: &str, n: u64, limit: u64) -> Result<Vec<u8>> {
        if n > limit {
            let what = format!("the length of a string of {key}");
            return Err(Error::Limit { file: self.file.clone(), what, limit, found: n });
        }
        self.cursor.bytes(n).map(|bytes| bytes.to_vec())
    }

    /// A string value.
    pub(crate) fn text(&mut self, key: &str) -> Result<String> {
        let at = self.cursor.position();
        let string = self.string(key)?;
        self.utf8(string, at, key)
    }

    /// Whether this version's first writers counted a NUL at the end of their strings.
    pub(crate) fn may_end_in_nul(&self) -> bool {
        self.version < 3
    }

    fn utf8(&self, mut string: Vec<u8>, at: u64, what: &str) -> Result<String> {
        if self.may_end_in_nul() && string.last() == Some(&0) {
            string.pop();
        }
        String::from_utf8(string)
            .map_err(|_| self.cursor.malformed_at(at, format!("the text of {what} is not UTF-8")))
    }

    /// A key or tensor name: not empty and without control characters, which would forge the lines it is printed on.
    fn identifier(&mut self, what: &str, limit: u64) -> Result<String> {
        let at = self.cursor.position();
        let n = self.count()?;
        // The NUL of old files is not part of the name.
        let limit = limit.saturating_add(u64::from(self.may_end_in_nul()));
        let string = self.bounded_string(what, n, limit)?;
        let name = self.utf8(string, at, what)?;
        if name.is_empty() || name.contains(char::is_control) {
            let what = format!("{what} {name:?} is empty or holds control characters");
            return Err(self.cursor.malformed_at(at, what));
        }
        Ok(name)
    }

    fn entry(&mut self) -> Result<(String, gristmill_tensor::MetaValue)> {
        let key = self.identifier("key", MAX_KEY_BYTES)?;
        let value = value::read(self, &key)?;
        Ok((key, value))
    }

    fn record(&mut self) -> Result<Record> {
        let at = self.cursor.position();
        let name = self.identifier("tensor name", self.limits.name_bytes.min(MAX_NAME_BYTES))?;
        let malformed = |what: String| {
            Error::malformed(self.file.clone(), FORMAT, at, format!("tensor {name} {what}"))
        };
        let n_dims = self.cursor.u32()?;
        if n_dims > MAX_DIMS {
            return Err(malformed(format!("has {n_dims} dimensions; GGUF allows {MAX_DIMS}")));
        }
        let mut dims = Vec::new();
        for _ in 0..n_dims {
            let ne = match self.version {
                1 => u64::from(self.cursor.u32()?),
                _ => self.cursor.u64()?,
            };
            dims.push(usize::try_from(ne).map_err(|_| malformed(format!("has an extent of {ne}")))?);
        }
        // `ne` is innermost first on disk and nowhere else.
        dims.reverse();
        let id = self.cursor.u32()?;
        let offset = self.cursor.u64()?;
        let dtype = DType::from_ggml_id(id).ok_or_else(|| {
            Error::unsupported(&self.file, FORMAT, format!("tensor {name} {}", dtype::why_refused(id)))
        })?;
        if self.endian == Endian::Big && dtype::words(dtype).is_none() {
            let what = format!(
                "tensor {name} is {dtype}, whose big-endian form nobody has defined; convert the little-endian file"
            );
            return Err(Error::unsupported(&self.file, FORMAT, what));
        }
        let info = TensorInfo::new(name.clone(), dtype, Shape::new(dims));
        check_size(&info).map_err(malformed)?;
        Ok(Record { info, offset, at })
    }
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
