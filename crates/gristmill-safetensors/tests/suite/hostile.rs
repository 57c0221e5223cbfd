//! Damaged and malicious files: always an error or a well-formed model, never a panic, a hang or a large allocation.

use std::path::Path;

use crate::common::{file, open, open_within, read_all, refusal};
use gristmill_safetensors::Safetensors;
use gristmill_tensor::{Checkpoint, Error, Format, Limits};

const SMALL: &str = concat!(
    r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"#,
    r#""a":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}   "#,
);

/// A header of one tensor `a`.
fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

/// A header of two vectors of bytes.
fn two(a: [u64; 2], b: [u64; 2]) -> String {
    let entry = |[begin, end]: [u64; 2]| {
        format!(
            r#"{{"dtype":"U8","shape":[{}],"data_offsets":[{begin},{end}]}}"#,
            end.saturating_sub(begin)
        )
    };
    format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b))
}

#[test]
fn tensors_come_in_the_order_of_the_data() {
    let model = open(&file(SMALL, 16)).unwrap();
    read_all(&model);
    assert_eq!(model.metadata().get_str("safetensors.format").unwrap(), Some("pt"));
    assert_eq!(model.tensors().iter().map(|info| &*info.name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(*model.read("b", 1..2).unwrap(), [10, 11, 12, 13, 14, 15]);
    assert_eq!(model.byte_range("a").unwrap().start, 8 + SMALL.len() as u64);
    assert!(matches!(model.read("c", 0..1), Err(Error::Missing { .. })));
}

#[test]
fn a_file_cut_at_any_byte_or_too_long_is_refused() {
    let bytes = file(SMALL, 16);
    for len in 0..bytes.len() {
        assert!(open(&bytes[..len]).is_err(), "cut at {len} of {}", bytes.len());
    }
    assert!(refusal(SMALL, 17).contains("take 16 bytes but 17 follow"));
}

#[test]
fn any_changed_byte_gives_an_error_or_a_well_formed_model() {
    let bytes = file(SMALL, 16);
    for at in 0..bytes.len() {
        for flip in 1..=u8::MAX {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            if let Ok(model) = open(&bytes) {
                read_all(&model);
            }
        }
    }
}

#[test]
fn a_header_length_that_lies_is_refused() {
    for lie in [0, 1, 4096, 100_000_001, 1 << 31, 1 << 40, 1 << 63, u64::MAX - 7, u64::MAX] {
        let mut bytes = file(SMALL, 16);
        bytes[..8].copy_from_slice(&lie.to_le_bytes());
        assert!(open(&bytes).is_err(), "{lie}");
    }
}

#[test]
fn the_budget_is_a_limit_of_its_own() {
    let limited = |json: &str, limits: Limits| {
        let error = open_within(&file(json, 0), &limits).err().unwrap();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    };
    limited(SMALL, Limits { header_bytes: 20, ..Limits::default() });
    limited(SMALL, Limits { tensors: 1, ..Limits::default() });
    limited(SMALL, Limits { metadata_entries: 0, ..Limits::default() });
    let long = format!(r#"{{"{}":{{}}}}"#, "n".repeat(513));
    limited(&long, Limits::default());
    limited(&one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), Limits::default());
}

#[test]
fn names_occur_once_and_are_printable() {
    let entry = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    assert!(
        refusal(&format!(r#"{{"a":{entry},"a":{entry}}}"#), 1).contains("tensor a occurs twice")
    );
    assert!(refusal(&format!(r#"{{"a\u001b[2J":{entry}}}"#), 1).contains("control characters"));
    let twice = r#"{"__metadata__":{"k":"1","k":"2"}}"#;
    assert!(refusal(twice, 0).contains("safetensors.k occurs twice"));
}

#[test]
fn data_is_without_overlaps_and_holes() {
    assert!(open(&file(&two([0, 4], [4, 8]), 8)).is_ok());
    for (a, b) in
        [([0, 4], [2, 6]), ([0, 4], [0, 4]), ([0, 4], [5, 8]), ([1, 4], [4, 8]), ([4, 0], [4, 8])]
    {
        assert!(open(&file(&two(a, b), 8)).is_err(), "{a:?} {b:?}");
    }
    assert!(refusal(&two([0, 4], [4, 1 << 40]), 8).contains("cut short"));
}

#[test]
fn shapes_agree_with_offsets_and_do_not_overflow() {
    assert!(open(&file(&one("F32", "[2,1]", "[0,8]"), 8)).is_ok());
    assert!(open(&file(&one("F32", "[0,7]", "[0,0]"), 0)).is_ok());
    for shape in [
        "[3]",
        "[2,2]",
        "[-2]",
        "[2.0]",
        "[\"2\"]",
        "[[2]]",
        "null",
        "[18446744073709551616]",
        "[18446744073709551615,18446744073709551615]",
        "[9223372036854775808,2]",
        "[4611686018427387904,4,2]",
        "[1e400]",
    ] {
        assert!(open(&file(&one("F32", shape, "[0,8]"), 8)).is_err(), "{shape}");
    }
    for offsets in ["[8,0]", "[-8,0]", "[0]", "[0,8,16]", "[0,8.0]", "null", "[0,99]"] {
        assert!(open(&file(&one("F32", "[2]", offsets), 8)).is_err(), "{offsets}");
    }
}

#[test]
fn types_that_cannot_be_read_name_their_tensor() {
    for (dtype, shape) in [
        ("F4", "[16]"),
        ("F6_E2M3", "[4,4]"),
        ("F8_E8M0", "[8]"),
        ("F8_E4M3FNUZ", "[8]"),
        ("F8_E5M2FNUZ", "[8]"),
        ("C64", "[1]"),
    ] {
        let n = if dtype == "F6_E2M3" { 12 } else { 8 };
        let bytes = file(&one(dtype, shape, &format!("[0,{n}]")), n);
        let error = open(&bytes).err().unwrap();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(&format!("tensor a is {dtype}")), "{error}");
    }
    for dtype in ["F17", "f32", "", "Q4_0"] {
        assert!(matches!(
            open(&file(&one(dtype, "[2]", "[0,8]"), 8)),
            Err(Error::Malformed { .. })
        ));
    }
}

#[test]
fn headers_that_are_not_objects_of_tensors_are_refused() {
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for json in [
        "null",
        "[]",
        "7",
        " {}",
        "{",
        "{}x",
        "{}\0",
        r#"{"a":7}"#,
        r#"{"a":[]}"#,
        r#"{"a":{}}"#,
        r#"{"__metadata__":7}"#,
        r#"{"__metadata__":{"k":7}}"#,
        r#"{"__metadata__":{"k":{}}}"#,
        &deep,
    ] {
        assert!(open(&file(json, 0)).is_err(), "{}", &json[..json.len().min(40)]);
    }
    assert!(open(&file("{}", 0)).is_ok());
    assert!(open(&file(r#"{"__metadata__":null}  "#, 0)).is_ok());
}

#[test]
fn a_file_is_recognized_by_its_length_and_brace() {
    let detect = |path: &str, head: &[u8]| Safetensors.detect(Path::new(path), head);
    assert!(detect("model.bin", &file(SMALL, 16)));
    assert!(!detect("model.bin", b"GGUF\x03\0\0\0{"));
    assert!(detect("model.safetensors", b"GGUF\x03\0\0\0{"));
    assert!(!detect("model.safetensors", b"<!DOCTYPE html>"));
    assert!(!detect("model.safetensors", b"{}"));
}
