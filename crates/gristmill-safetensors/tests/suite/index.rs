//! Models in several files.

use crate::common::{file, open};
use gristmill_safetensors::read_index;
use gristmill_tensor::{Checkpoint, Error};

const INDEX: &str = r#"{"metadata":{"total_size":3},
    "weight_map":{"c":"m-00002-of-00002.bin","a":"m-00001-of-00002.bin","b":"m-00001-of-00002.bin"}}"#;

/// A file that holds tensors of one byte with these names.
fn shard(names: &[&str]) -> Box<dyn Checkpoint> {
    let entry = |(i, name): (usize, &&str)| {
        format!(r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{}]}}"#, i + 1)
    };
    let entries: Vec<String> = names.iter().enumerate().map(entry).collect();
    Box::new(open(&file(&format!("{{{}}}", entries.join(",")), names.len())).unwrap())
}

#[test]
fn files_are_listed_once_and_in_order() {
    let index = read_index(INDEX.as_bytes(), "index.json").unwrap();
    assert_eq!(index.files, ["m-00001-of-00002.bin", "m-00002-of-00002.bin"]);
    assert_eq!(index.weight_map["c"], "m-00002-of-00002.bin");
    assert_eq!(index.weight_map.len(), 3);
}

#[test]
fn the_files_join_to_the_whole() {
    let index = read_index(INDEX.as_bytes(), "index.json").unwrap();
    let model = index.join(vec![shard(&["a", "b"]), shard(&["c", "extra"])]).unwrap();
    assert_eq!(model.tensors().len(), 4);
    assert_eq!(model.name(), "index.json");
    let error = index.join(vec![shard(&["a"]), shard(&["b", "c"])]).err().unwrap();
    assert!(matches!(error, Error::Missing { .. }) && error.to_string().contains("tensor b"));
    let error = index.join(vec![shard(&["a", "b"])]).err().unwrap();
    assert!(error.to_string().contains("m-00002-of-00002.bin is missing"));
    assert!(index.join(vec![shard(&["a", "b"]), shard(&["b", "c"])]).is_err());
}

#[test]
fn file_names_cannot_leave_the_folder() {
    for name in ["../x", "/etc/passwd", "a/b", r"a\\b", "..", ".", "", "C:x", r"x\u0000"] {
        let json = format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#);
        let message = read_index(json.as_bytes(), "index.json").unwrap_err().to_string();
        assert!(message.contains("not the plain name of a file"), "{name}: {message}");
    }
}

#[test]
fn texts_that_are_not_an_index_are_refused() {
    for json in [
        "",
        "{}",
        "[]",
        r#"{"weight_map":[]}"#,
        r#"{"weight_map":{}}"#,
        r#"{"weight_map":{"a":7}}"#,
        r#"{"weight_map":{"a":"x","a":"y"}}"#,
        r#"{"weight_map":{"a":"x"}"#,
    ] {
        assert!(read_index(json.as_bytes(), "index.json").is_err(), "{json}");
    }
}
