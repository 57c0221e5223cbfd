//! A cursor that knows the file's version, byte order and budget: counts, strings and runs of numbers.
//!
//! Version 1 counts in 32 bits, the others in 64. The C++ writers of the first days (versions 1 and 2) counted a NUL
//! at the end of their strings; exactly one is taken off. What a count promises is compared with the bytes that are
//! left before anything is allocated.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use gristmill_tensor::{ByteSource, Cursor, Endian, Error, Limits, Result};

use crate::{FORMAT, MAGIC};

/// A cursor that knows the version, the byte order and the budget.
pub(crate) struct Input<'a> {
    pub cursor: Cursor<'a>,
    pub version: u32,
    pub endian: Endian,
    pub limits: &'a Limits,
    pub file: String,
}

impl<'a> Input<'a> {
    /// Reads the magic and the version, which tells the byte order.
    pub(crate) fn new(source: &'a dyn ByteSource, limits: &'a Limits) -> Result<Input<'a>> {
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

    /// A key or tensor name.
    pub(crate) fn identifier(&mut self, what: &str, limit: u64) -> Result<String> {
        let at = self.cursor.position();
        let n = self.count()?;
        // The NUL of old files is not part of the name.
        let limit = limit.saturating_add(u64::from(self.may_end_in_nul()));
        let string = self.bounded_string(what, n, limit)?;
        let name = self.utf8(string, at, what)?;
        check_identifier(&name, limit)
            .map_err(|why| self.cursor.malformed_at(at, format!("{what} {name:?} {why}")))?;
        Ok(name)
    }
}

/// Refuses keys and names that are empty, longer than `limit`, or hold control characters, which would forge the
/// lines they are printed on.
pub(crate) fn check_identifier(name: &str, limit: u64) -> std::result::Result<(), String> {
    let n = u64::try_from(name.len()).expect("usize is at most 64 bits wide");
    if !(1..=limit).contains(&n) {
        return Err(format!("has {n} bytes; GGUF allows 1 to {limit}"));
    }
    if name.contains(char::is_control) {
        return Err("holds control characters".into());
    }
    Ok(())
}
