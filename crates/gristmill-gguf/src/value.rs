//! Metadata values on disk: a type number and the value itself.
//!
//! ```text
//! number   its bytes                              bool    one byte, 0 or 1
//! string   length, bytes                          array   type number, count, that many values
//! ```
//!
//! Lengths and counts are 64 bits wide (32 in version 1). An array of arrays is expressible, but no tool writes one
//! and ggml refuses them; so do we, which also leaves hostile nesting nothing to nest.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use gristmill_tensor::{MetaArray, MetaValue, Result};

use crate::input::Input;

const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

macro_rules! numbers {
    ($($id:literal = $variant:ident($type:ident);)*) => {
        /// Reads one value with its type number; `key` is its key, for messages.
        pub(crate) fn read(input: &mut Input<'_>, key: &str) -> Result<MetaValue> {
            let at = input.cursor.position();
            Ok(match input.cursor.u32()? {
                $($id => MetaValue::$variant(input.cursor.$type()?),)*
                BOOL => MetaValue::Bool(read_bool(input, key)?),
                STRING => MetaValue::String(input.text(key)?),
                ARRAY => MetaValue::Array(read_array(input, key)?),
                id => return Err(unknown_type(input, at, key, id)),
            })
        }

        fn read_array(input: &mut Input<'_>, key: &str) -> Result<MetaArray> {
            let at = input.cursor.position();
            let id = input.cursor.u32()?;
            let n = input.count()?;
            input.check_array_len(key, n)?;
            Ok(match id {
                $($id => MetaArray::$variant(
                    input.numbers(n, $type::from_le_bytes, $type::from_be_bytes)?,
                ),)*
                BOOL => MetaArray::Bool(read_bools(input, key, n)?),
                STRING => read_strings(input, key, n)?,
                ARRAY => {
                    let what = format!("key {key} is an array of arrays, which GGUF readers do not accept");
                    return Err(input.cursor.malformed_at(at, what));
                }
                id => return Err(unknown_type(input, at, key, id)),
            })
        }

        /// Appends the type number and the value, little-endian.
        pub(crate) fn write(value: &MetaValue, out: &mut Vec<u8>) {
            match value {
                $(MetaValue::$variant(value) => {
                    write_u32($id, out);
                    out.extend(value.to_le_bytes());
                })*
                MetaValue::Bool(value) => {
                    write_u32(BOOL, out);
                    out.push(u8::from(*value));
                }
                MetaValue::String(value) => {
                    write_u32(STRING, out);
                    write_string(value.as_bytes(), out);
                }
                MetaValue::Array(values) => {
                    write_u32(ARRAY, out);
                    write_array(values, out);
                }
            }
        }

        fn write_array(values: &MetaArray, out: &mut Vec<u8>) {
            let id = match values {
                $(MetaArray::$variant(_) => $id,)*
                MetaArray::Bool(_) => BOOL,
                MetaArray::String(_) | MetaArray::Bytes(_) => STRING,
            };
            write_u32(id, out);
            write_len(values.len(), out);
            match values {
                $(MetaArray::$variant(values) => {
                    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                })*
                MetaArray::Bool(values) => out.extend(values.iter().copied().map(u8::from)),
                MetaArray::String(values) => {
                    values.iter().for_each(|value| write_string(value.as_bytes(), out));
                }
                MetaArray::Bytes(values) => values.iter().for_each(|value| write_string(value, out)),
            }
        }
    };
}

numbers! {
    0 = U8(u8);
    1 = I8(i8);
    2 = U16(u16);
    3 = I16(i16);
    4 = U32(u32);
    5 = I32(i32);
    6 = F32(f32);
    10 = U64(u64);
    11 = I64(i64);
    12 = F64(f64);
}

fn unknown_type(input: &Input<'_>, at: u64, key: &str, id: u32) -> gristmill_tensor::Error {
    input
        .cursor
        .malformed_at(at, format!("key {key} has the value type {id}, which does not exist"))
}

fn read_bool(input: &mut Input<'_>, key: &str) -> Result<bool> {
    let at = input.cursor.position();
    match input.cursor.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        byte => Err(input
            .cursor
            .malformed_at(at, format!("key {key} is a bool of value {byte}, not 0 or 1"))),
    }
}

fn read_bools(input: &mut Input<'_>, key: &str, n: u64) -> Result<Vec<bool>> {
    let at = input.cursor.position();
    let bytes = input.cursor.bytes(n)?;
    if bytes.iter().any(|&byte| byte > 1) {
        let what = format!("key {key} holds a bool that is neither 0 nor 1");
        return Err(input.cursor.malformed_at(at, what));
    }
    Ok(bytes.iter().map(|&byte| byte == 1).collect())
}

/// Strings of which some may not be UTF-8: vocabularies of byte-level tokenizers hold such tokens.
fn read_strings(input: &mut Input<'_>, key: &str, n: u64) -> Result<MetaArray> {
    // Each string takes at least its length, so the count is bounded by the file before anything is allocated.
    input.check_fits("strings", n, input.count_bytes())?;
    let mut strings = (0..n).map(|_| input.string(key)).collect::<Result<Vec<_>>>()?;
    if input.may_end_in_nul() && strings.iter().all(|string| string.ends_with(b"\0")) {
        strings.iter_mut().for_each(|string| string.truncate(string.len().saturating_sub(1)));
    }
    Ok(match strings.iter().all(|string| std::str::from_utf8(string).is_ok()) {
        true => MetaArray::String(
            strings
                .into_iter()
                .map(|string| String::from_utf8(string).expect("every string was just checked"))
                .collect(),
        ),
        false => MetaArray::Bytes(strings),
    })
}

/// Appends a length and the bytes.
pub(crate) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    write_len(bytes.len(), out);
    out.extend(bytes);
}

pub(crate) fn write_u32(value: u32, out: &mut Vec<u8>) {
    out.extend(value.to_le_bytes());
}

/// Appends a count or length in 64 bits.
pub(crate) fn write_len(value: usize, out: &mut Vec<u8>) {
    let value = u64::try_from(value).expect("usize is at most 64 bits wide");
    out.extend(value.to_le_bytes());
}
