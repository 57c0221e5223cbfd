//! What is left of a pickle once it is plain data: a tree of numbers, texts, sequences and dictionaries.
//!
//! [`read`] is the only way in: [`defuse`](crate::defuse) rewrites the pickle, serde-pickle parses the result, and
//! the visitor below turns it into a [`Plain`] that keeps the order of dictionaries (which
//! `serde_pickle::Value` would lose).
//!
//! References to Python's names and calls come through as tagged texts and tagged tuples. A tag is a text that
//! begins with U+0000; a text of the file that itself begins so is given one more U+0000 on the way, hence no file
//! can spell a tag.

use std::fmt;

use gristmill_tensor::{Cursor, Error, Limits, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::FORMAT;
use crate::defuse::defuse;

/// What tags and escaped texts begin with.
pub(crate) const ESCAPE: char = '\0';
/// Begins the text that stands for a permitted global; `module.name` follows.
pub(crate) const GLOBAL: &str = "\0global:";
/// First of a tuple: a callable and its arguments follow.
pub(crate) const CALL: &str = "\0call";
/// First of a tuple: a class and the arguments of its constructor follow.
pub(crate) const OBJECT: &str = "\0object";
/// First of a tuple: a persistent id, which is torch's way to refer to a storage, follows.
pub(crate) const STORAGE: &str = "\0storage";

/// A value of a defused pickle.
#[derive(Debug, PartialEq)]
pub(crate) enum Plain {
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    /// Raw bytes, texts that are not UTF-8, and integers of more than 64 bits.
    Blob(Vec<u8>),
    /// A list, tuple or set.
    Seq(Vec<Plain>),
    /// In the order of the file.
    Dict(Vec<(Plain, Plain)>),
    /// A permitted `module.name`.
    Global(String),
    /// A callable and its arguments; nothing was called.
    Call(Box<Plain>, Vec<Plain>),
    /// The parts of a persistent id.
    Storage(Vec<Plain>),
    /// Something no tensor needs: a float or an object.
    Other,
    /// One of the tags [`CALL`], [`OBJECT`] and [`STORAGE`], on its way to becoming one of the above.
    Tag(&'static str),
}

/// Reads the pickle at `cursor` and leaves the cursor behind it. `file` is named in errors.
pub(crate) fn read(cursor: &mut Cursor<'_>, file: &str, limits: &Limits) -> Result<Plain> {
    let start = cursor.position();
    let pickle = defuse(cursor, file, limits)?;
    serde_pickle::from_slice(&pickle, serde_pickle::DeOptions::new())
        .map_err(|error| Error::malformed(file, FORMAT, start, format!("the pickle: {error}")))
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Plain, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain::None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain::Int(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Plain, E> {
        Ok(Plain::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
        if let Some(name) = text.strip_prefix(GLOBAL) {
            return Ok(Plain::Global(name.into()));
        }
        if let Some(tag) = [CALL, OBJECT, STORAGE].into_iter().find(|tag| *tag == text) {
            return Ok(Plain::Tag(tag));
        }
        Ok(Plain::Text(text.strip_prefix(ESCAPE).unwrap_or(text).into()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Plain, E> {
        Ok(Plain::Blob(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let mut seq = Vec::new();
        while let Some(item) = items.next_element()? {
            seq.push(item);
        }
        Ok(untag(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Plain, A::Error> {
        let mut dict = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            dict.push(entry);
        }
        Ok(Plain::Dict(dict))
    }
}

/// Gives a tagged tuple its meaning. The defuse pass writes tags in no other place and with no other company.
fn untag(mut seq: Vec<Plain>) -> Plain {
    match seq.first() {
        Some(&Plain::Tag(OBJECT)) => Plain::Other,
        Some(&Plain::Tag(STORAGE)) => match seq.pop() {
            Some(Plain::Seq(id)) => Plain::Storage(id),
            _ => Plain::Other,
        },
        Some(&Plain::Tag(_)) => match (seq.pop(), seq.pop()) {
            (Some(Plain::Seq(args)), Some(callable)) => Plain::Call(Box::new(callable), args),
            _ => Plain::Other,
        },
        _ => Plain::Seq(seq),
    }
}
