//! Checked sequential reads for the binary readers.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::{ByteSource, Bytes, Error, Limits, Result};

/// The order of bytes in multi-byte numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Endian {
    /// Least significant first.
    #[default]
    Little,
    /// Most significant first.
    Big,
}

/// How much is read at once where the source is not a mapping.
const WINDOW: u64 = 64 << 10;

/// A position in a [`ByteSource`]; every read is checked against its end.
pub struct Cursor<'a> {
    source: &'a dyn ByteSource,
    format: &'static str,
    endian: Endian,
    position: u64,
    window: Bytes,
    window_start: u64,
}

macro_rules! numbers {
    ($($name:ident -> $type:ty;)*) => { $(
        #[doc = concat!("The next `", stringify!($type), "`.")]
        ///
        /// # Errors
        /// [`Error::Malformed`] when the file ends first.
        pub fn $name(&mut self) -> Result<$type> {
            let bytes = self.array()?;
            Ok(match self.endian {
                Endian::Little => <$type>::from_le_bytes(bytes),
                Endian::Big => <$type>::from_be_bytes(bytes),
            })
        }
    )* };
}

impl<'a> Cursor<'a> {
    /// A little-endian cursor at the start of `source`; `format` is named in errors.
    pub fn new(source: &'a dyn ByteSource, format: &'static str) -> Cursor<'a> {
        Cursor {
            source,
            format,
            endian: Endian::Little,
            position: 0,
            window: Bytes::from(Vec::new()),
            window_start: 0,
        }
    }

    /// From here on, numbers are read in this order.
    pub fn set_endian(&mut self, endian: Endian) {
        self.endian = endian;
    }

    /// Bytes from the start of the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to `position`, which is checked at the next read.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Bytes left.
    pub fn remaining(&self) -> u64 {
        self.source.len().saturating_sub(self.position)
    }

    /// An error at the current position.
    pub fn malformed(&self, what: impl Into<String>) -> Error {
        self.malformed_at(self.position, what)
    }

    /// An error at `position`.
    pub fn malformed_at(&self, position: u64, what: impl Into<String>) -> Error {
        Error::malformed(self.source.name(), self.format, position, what)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] when fewer are left.
    pub fn bytes(&mut self, n: u64) -> Result<Bytes> {
        if n > self.remaining() {
            let left = self.remaining();
            return Err(self.malformed(format!(
                "{n} bytes are wanted but only {left} are left; the file is cut short or damaged"
            )));
        }
        let start = self.position;
        let end = start.saturating_add(n);
        let window_end = self.window_start.saturating_add(self.window.len() as u64);
        if start < self.window_start || end > window_end {
            let fetch_end = end.max(start.saturating_add(WINDOW)).min(self.source.len());
            self.window = self.source.read(start..fetch_end)?;
            self.window_start = start;
        }
        self.position = end;
        let from = start.saturating_sub(self.window_start) as usize;
        Ok(self.window.slice(from..from.saturating_add(n as usize)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N as u64)?;
        Ok(<[u8; N]>::try_from(&*bytes).expect("as many bytes as asked for"))
    }

    numbers! {
        u8 -> u8; i8 -> i8; u16 -> u16; i16 -> i16; u32 -> u32; i32 -> i32; u64 -> u64; i64 -> i64;
        f32 -> f32; f64 -> f64;
    }

    /// The next `n` bytes, at most `limit` of them, as text.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Malformed`] at the end of the file or when the bytes are not UTF-8.
    pub fn text(&mut self, what: &str, n: u64, limit: u64) -> Result<String> {
        Limits::check(&self.source.name(), &format!("the length of {what}"), limit, n)?;
        let start = self.position;
        let bytes = self.bytes(n)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.malformed_at(start, format!("{what} is not UTF-8"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySource;

    #[test]
    fn reads_numbers_in_both_orders_and_stops_at_the_end() {
        let source = MemorySource::new("test", vec![1, 0, 0, 0, 0, 0, 0, 1, 9]);
        let mut cursor = Cursor::new(&source, "test");
        assert_eq!(cursor.u32().unwrap(), 1);
        cursor.set_endian(Endian::Big);
        assert_eq!(cursor.u32().unwrap(), 1);
        assert!(cursor.u16().is_err());
        assert_eq!(cursor.u8().unwrap(), 9);
        assert_eq!(cursor.remaining(), 0);
    }

    #[test]
    fn a_hostile_length_is_refused_before_anything_is_allocated() {
        let source = MemorySource::new("test", vec![0; 16]);
        assert!(Cursor::new(&source, "test").bytes(u64::MAX).is_err());
    }
}
