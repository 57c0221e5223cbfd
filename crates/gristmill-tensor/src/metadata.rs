//! Metadata: an ordered map of keys to typed values, in GGUF's types and under GGUF's keys.

use std::fmt;

use crate::{Error, Result};

macro_rules! meta_types {
    ($($(#[$doc:meta])* $name:ident($type:ty);)*) => {
        /// A metadata value.
        #[derive(Clone, PartialEq, Debug)]
        pub enum MetaValue {
            $($(#[$doc])* $name($type),)*
            /// A list of values of one type.
            Array(MetaArray),
        }

        /// A list of metadata values of one type. Lists of lists do not exist.
        #[derive(Clone, PartialEq, Debug)]
        pub enum MetaArray {
            $($(#[$doc])* $name(Vec<$type>),)*
            /// Strings of which at least one is not UTF-8, as some vocabularies hold.
            Bytes(Vec<Vec<u8>>),
        }

        $(impl From<$type> for MetaValue {
            fn from(value: $type) -> MetaValue { MetaValue::$name(value) }
        }
        impl From<Vec<$type>> for MetaValue {
            fn from(values: Vec<$type>) -> MetaValue { MetaValue::Array(MetaArray::$name(values)) }
        })*

        impl MetaArray {
            /// Number of values.
            pub fn len(&self) -> usize {
                match self { $(MetaArray::$name(values) => values.len(),)* MetaArray::Bytes(values) => values.len() }
            }

            /// Whether there are no values.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The value at `index`; `None` past the end.
            pub fn get(&self, index: usize) -> Option<MetaValue> {
                match self {
                    $(MetaArray::$name(values) => values.get(index).cloned().map(MetaValue::$name),)*
                    MetaArray::Bytes(values) => values
                        .get(index)
                        .map(|value| MetaValue::String(String::from_utf8_lossy(value).into_owned())),
                }
            }

            /// The name of the type of the values, as GGUF's specification writes it.
            pub fn type_name(&self) -> &'static str {
                match self { $(MetaArray::$name(_) => meta_types!(@name $name),)* MetaArray::Bytes(_) => "string" }
            }
        }

        impl MetaValue {
            /// The name of the type, as GGUF's specification writes it.
            pub fn type_name(&self) -> &'static str {
                match self { $(MetaValue::$name(_) => meta_types!(@name $name),)* MetaValue::Array(_) => "array" }
            }
        }
    };
    (@name U8) => { "uint8" };
    (@name I8) => { "int8" };
    (@name U16) => { "uint16" };
    (@name I16) => { "int16" };
    (@name U32) => { "uint32" };
    (@name I32) => { "int32" };
    (@name F32) => { "float32" };
    (@name Bool) => { "bool" };
    (@name String) => { "string" };
    (@name U64) => { "uint64" };
    (@name I64) => { "int64" };
    (@name F64) => { "float64" };
}

meta_types! {
    /// 8-bit unsigned.
    U8(u8);
    /// 8-bit signed.
    I8(i8);
    /// 16-bit unsigned.
    U16(u16);
    /// 16-bit signed.
    I16(i16);
    /// 32-bit unsigned.
    U32(u32);
    /// 32-bit signed.
    I32(i32);
    /// 32-bit float.
    F32(f32);
    /// True or false.
    Bool(bool);
    /// Text.
    String(String);
    /// 64-bit unsigned.
    U64(u64);
    /// 64-bit signed.
    I64(i64);
    /// 64-bit float.
    F64(f64);
}

impl From<&str> for MetaValue {
    fn from(value: &str) -> MetaValue {
        MetaValue::String(value.into())
    }
}

impl MetaValue {
    /// The value as an unsigned integer, whatever integer type it has; `None` for negative numbers and other types.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            MetaValue::U8(v) => Some(v.into()),
            MetaValue::U16(v) => Some(v.into()),
            MetaValue::U32(v) => Some(v.into()),
            MetaValue::U64(v) => Some(v),
            MetaValue::I8(v) => v.try_into().ok(),
            MetaValue::I16(v) => v.try_into().ok(),
            MetaValue::I32(v) => v.try_into().ok(),
            MetaValue::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value as a float, if it is one.
    pub fn as_f32(&self) -> Option<f32> {
        match *self {
            MetaValue::F32(v) => Some(v),
            MetaValue::F64(v) => Some(v as f32),
            _ => None,
        }
    }

    /// The value as text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            MetaValue::String(v) => Some(v),
            _ => None,
        }
    }

    /// The value as a list, if it is one.
    pub fn as_array(&self) -> Option<&MetaArray> {
        match self {
            MetaValue::Array(v) => Some(v),
            _ => None,
        }
    }
}

impl fmt::Display for MetaValue {
    /// Scalars as they are, text without quotes, lists shortened to their first values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetaValue::U8(v) => write!(f, "{v}"),
            MetaValue::I8(v) => write!(f, "{v}"),
            MetaValue::U16(v) => write!(f, "{v}"),
            MetaValue::I16(v) => write!(f, "{v}"),
            MetaValue::U32(v) => write!(f, "{v}"),
            MetaValue::I32(v) => write!(f, "{v}"),
            MetaValue::F32(v) => write!(f, "{v}"),
            MetaValue::Bool(v) => write!(f, "{v}"),
            MetaValue::String(v) => write!(f, "{v}"),
            MetaValue::U64(v) => write!(f, "{v}"),
            MetaValue::I64(v) => write!(f, "{v}"),
            MetaValue::F64(v) => write!(f, "{v}"),
            MetaValue::Array(values) => {
                write!(f, "{}[{}] = [", values.type_name(), values.len())?;
                for index in 0..values.len().min(6) {
                    let separator = if index == 0 { "" } else { ", " };
                    match values.get(index) {
                        Some(MetaValue::String(text)) => write!(f, "{separator}{text:?}")?,
                        Some(value) => write!(f, "{separator}{value}")?,
                        None => {}
                    }
                }
                write!(f, "{}]", if values.len() > 6 { ", …" } else { "" })
            }
        }
    }
}

/// Keys and values in the order of their file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Metadata {
    entries: Vec<(String, MetaValue)>,
    /// The file the entries came from, for messages.
    origin: String,
}

impl Metadata {
    /// No entries; `origin` names the file in messages.
    pub fn new(origin: impl Into<String>) -> Metadata {
        Metadata { entries: Vec::new(), origin: origin.into() }
    }

    /// All of `entries` at once, in time that does not grow with the square of their number, for readers of files
    /// that may hold very many.
    ///
    /// # Errors
    /// The first key that occurs twice.
    pub fn from_entries(
        origin: impl Into<String>,
        entries: Vec<(String, MetaValue)>,
    ) -> std::result::Result<Metadata, String> {
        let mut seen = std::collections::HashSet::with_capacity(entries.len());
        if let Some((twice, _)) = entries.iter().find(|(key, _)| !seen.insert(key)) {
            return Err(twice.clone());
        }
        Ok(Metadata { entries, origin: origin.into() })
    }

    /// The file the entries came from, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&MetaValue> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Whether `key` has a value.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets `key`, in its place if it is there, else at the end.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<MetaValue>) {
        let (key, value) = (key.into(), value.into());
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Removes `key` and gives its value.
    pub fn remove(&mut self, key: &str) -> Option<MetaValue> {
        let index = self.entries.iter().position(|(k, _)| k == key)?;
        Some(self.entries.remove(index).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetaValue)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a MetaValue) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| {
            let what =
                format!("key {key} should be {expected} but is {} {value}", value.type_name());
            Error::malformed(&self.origin, "metadata", 0, what)
        })
    }

    /// A count, of any integer type.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not a non-negative integer that fits.
    pub fn get_usize(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a count", |value| value.as_u64()?.try_into().ok())
    }

    /// A token id or other 32-bit number, of any integer type.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not a non-negative integer that fits.
    pub fn get_u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "a 32-bit count", |value| value.as_u64()?.try_into().ok())
    }

    /// A float.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not a float or not finite.
    pub fn get_f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a finite float", |value| value.as_f32().filter(|v| v.is_finite()))
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not a bool.
    pub fn get_bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a bool", |value| match value {
            MetaValue::Bool(v) => Some(*v),
            _ => None,
        })
    }

    /// Text.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not a string.
    pub fn get_str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", MetaValue::as_str)
    }

    /// A list of strings.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not a list of UTF-8 strings.
    pub fn get_strings(&self, key: &str) -> Result<Option<&[String]>> {
        self.typed(key, "a list of strings", |value| match value {
            MetaValue::Array(MetaArray::String(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// A list of floats.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not a list of 32-bit floats.
    pub fn get_f32s(&self, key: &str) -> Result<Option<&[f32]>> {
        self.typed(key, "a list of floats", |value| match value {
            MetaValue::Array(MetaArray::F32(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// A list of integers, of any integer type that fits `i32`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the value is not such a list.
    pub fn get_i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.typed(key, "a list of 32-bit integers", |value| match value {
            MetaValue::Array(MetaArray::I32(values)) => Some(values.clone()),
            MetaValue::Array(MetaArray::U32(values)) => {
                values.iter().map(|&v| v.try_into().ok()).collect()
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_every_integer_type_but_never_from_floats() {
        let mut metadata = Metadata::new("test");
        metadata.set("a", 7i64);
        metadata.set("b", -1i32);
        metadata.set("c", 7.0f32);
        assert_eq!(metadata.get_usize("a").unwrap(), Some(7));
        assert!(metadata.get_usize("b").is_err());
        assert!(metadata.get_usize("c").is_err());
        assert_eq!(metadata.get_usize("d").unwrap(), None);
    }

    #[test]
    fn a_key_that_occurs_twice_is_named() {
        let entry = |key: &str| (key.to_owned(), MetaValue::from(1u32));
        assert_eq!(
            Metadata::from_entries("test", vec![entry("a"), entry("b"), entry("a")]),
            Err("a".to_owned())
        );
        assert_eq!(Metadata::from_entries("test", vec![entry("a"), entry("b")]).unwrap().len(), 2);
    }

    #[test]
    fn setting_again_keeps_the_place() {
        let mut metadata = Metadata::new("test");
        metadata.set("a", 1u32);
        metadata.set("b", 2u32);
        metadata.set("a", "text");
        assert_eq!(metadata.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    }
}
