//! The JSON header of a safetensors file.
//!
//! One pass reads it: a visitor walks the outermost object, keeps the order of its entries, and stops at the first
//! name that occurs twice or exceeds the budget, neither of which the official crate notices. Each entry is the
//! official crate's [`TensorInfo`](safetensors::tensor::TensorInfo), and its
//! [`Metadata`](safetensors::tensor::Metadata) then judges the whole: offsets that follow each other without gap or
//! overlap, shapes whose product fits, sizes that agree with both.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::HashSet;
use std::fmt;

use gristmill_tensor::{
    ByteSource, Cursor, DType, Error, Limits, MetaValue, Metadata, Result, Shape, TensorInfo,
};
use safetensors::tensor as official;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use crate::{FORMAT, KEY_PREFIX, MAX_HEADER_BYTES, METADATA};

/// Bytes of the length that stands before the header.
const LEN_BYTES: u64 = 8;

/// All that stands in front of the data.
pub(crate) struct Header {
    pub metadata: Metadata,
    /// Every tensor, in the order of the data, with the byte of the file at which it begins.
    pub tensors: Vec<(TensorInfo, u64)>,
}

impl Header {
    /// Reads and checks the header of `source`.
    pub(crate) fn read(source: &dyn ByteSource, limits: &Limits) -> Result<Header> {
        let file = source.name();
        let mut cursor = Cursor::new(source, FORMAT);
        let len = cursor.u64()?;
        let limit = limits.header_bytes.min(MAX_HEADER_BYTES);
        Limits::check(&file, "the length of the header", limit, len)?;
        let json = cursor.bytes(len)?;
        if !json.starts_with(b"{") {
            return Err(cursor.malformed_at(LEN_BYTES, "the header does not begin with {"));
        }
        let mut outline = Outline::parse(&json, &file, limits)?;

        // Stable, so that tensors without bytes keep the order of the header.
        outline.tensors.sort_by_key(|(_, info)| info.data_offsets);
        let checked = official::Metadata::new(None, outline.tensors.clone())
            .map_err(|error| cursor.malformed_at(LEN_BYTES, error.to_string()))?;
        let data_start = cursor.position();
        let data_len = u64::try_from(checked.data_len()).expect("usize is at most 64 bits wide");
        let end = data_start.checked_add(data_len);
        if end != Some(source.len()) {
            let what = format!(
                "the tensors take {data_len} bytes but {} follow the header; the file is cut short or damaged",
                cursor.remaining()
            );
            return Err(cursor.malformed_at(data_start, what));
        }

        let tensors = outline.tensors.into_iter();
        let tensors = tensors.map(|(name, info)| place(&file, data_start, name, info));
        let metadata = Metadata::from_entries(&*file, outline.metadata).map_err(|key| {
            cursor.malformed_at(LEN_BYTES, format!("metadata key {key} occurs twice"))
        })?;
        Ok(Header { metadata, tensors: tensors.collect::<Result<_>>()? })
    }
}

fn place(
    file: &str,
    data_start: u64,
    name: String,
    info: official::TensorInfo,
) -> Result<(TensorInfo, u64)> {
    let Some(dtype) = DType::from_name(&info.dtype.to_string()) else {
        let what = format!("tensor {name} is {}, a type that gristmill does not know", info.dtype);
        return Err(Error::unsupported(file, FORMAT, what));
    };
    let offset = u64::try_from(info.data_offsets.0).expect("usize is at most 64 bits wide");
    // All tensors were found to end inside the file.
    let start = data_start.saturating_add(offset);
    Ok((TensorInfo::new(name, dtype, Shape::new(info.shape)), start))
}

/// The entries of the header in their order, not yet compared with each other.
#[derive(Default)]
struct Outline {
    metadata: Vec<(String, MetaValue)>,
    tensors: Vec<(String, official::TensorInfo)>,
}

impl Outline {
    fn parse(json: &[u8], file: &str, limits: &Limits) -> Result<Outline> {
        let mut refusal = None;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let seed = OutlineSeed { file, limits, refusal: &mut refusal };
        let parsed = seed.deserialize(&mut deserializer);
        let parsed = parsed.and_then(|outline| deserializer.end().map(|()| outline));
        parsed.map_err(|error| {
            refusal.unwrap_or_else(|| {
                // Headers are one line, so that the column is the place.
                let column = if error.line() == 1 { error.column() } else { 0 };
                let column = u64::try_from(column).unwrap_or(0);
                Error::malformed(file, FORMAT, LEN_BYTES.saturating_add(column), error.to_string())
            })
        })
    }
}

/// Reads an [`Outline`]. A refusal that is more than broken JSON is left in `refusal`, where its type survives.
struct OutlineSeed<'a> {
    file: &'a str,
    limits: &'a Limits,
    refusal: &'a mut Option<Error>,
}

impl OutlineSeed<'_> {
    fn limit<E: serde::de::Error>(
        &mut self,
        what: impl fmt::Display,
        limit: u64,
        n: usize,
    ) -> std::result::Result<(), E> {
        let n = u64::try_from(n).expect("usize is at most 64 bits wide");
        if n <= limit {
            return Ok(());
        }
        *self.refusal = Limits::check(self.file, &what.to_string(), limit, n).err();
        Err(E::custom("over the limit"))
    }
}

impl<'de> DeserializeSeed<'de> for OutlineSeed<'_> {
    type Value = Outline;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Outline, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OutlineSeed<'_> {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(
        mut self,
        mut map: A,
    ) -> std::result::Result<Outline, A::Error> {
        let mut outline = Outline::default();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            self.limit("the length of a tensor's name", self.limits.name_bytes, name.len())?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("tensor {name} occurs twice")));
            }
            if name == METADATA {
                let texts: Option<Texts> = map.next_value()?;
                outline.metadata = texts.unwrap_or_default().0;
                let n = outline.metadata.len();
                self.limit("the number of metadata entries", self.limits.metadata_entries, n)?;
                continue;
            }
            if name.contains(char::is_control) {
                return Err(A::Error::custom(format!(
                    "the name {name:?} holds control characters"
                )));
            }
            let info: official::TensorInfo = map.next_value()?;
            let rank = info.shape.len();
            self.limit(format_args!("the rank of tensor {name}"), self.limits.rank, rank)?;
            outline.tensors.push((name, info));
            self.limit("the number of tensors", self.limits.tensors, outline.tensors.len())?;
        }
        Ok(outline)
    }
}

/// An object of texts in its order, duplicates included.
#[derive(Default)]
struct Texts(Vec<(String, MetaValue)>);

impl<'de> serde::Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Texts, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Texts, A::Error> {
                let mut texts = Texts::default();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    texts.0.push((format!("{KEY_PREFIX}{key}"), value.into()));
                }
                Ok(texts)
            }
        }
        deserializer.deserialize_map(TextsVisitor)
    }
}
