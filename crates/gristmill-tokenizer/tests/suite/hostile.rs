//! Broken and hostile tokenizer files: every one gives an error that names the place, none a panic.

use std::path::Path;

use gristmill_tensor::{Limits, Metadata};
use gristmill_tokenizer::{EncodeOptions, Error, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn load(files: &[(&str, &[u8])]) -> Result<Tokenizer, Error> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    Tokenizer::from_folder(folder.path(), &Limits::default())
}

#[track_caller]
fn assert_refused(result: Result<Tokenizer, Error>, words: &[&str]) {
    let message = result.expect_err("should be refused").to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// A sound tokenizer.json.
fn sound() -> Value {
    json!({
        "added_tokens": [{"id": 4, "content": "<x>", "special": true, "normalized": false}],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"]},
    })
}

/// A sound tokenizer.json with one value replaced.
fn with(pointer: &str, value: Value) -> Result<Tokenizer, Error> {
    let mut json = sound();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[key] = value;
    load(&[("tokenizer.json", json.to_string().as_bytes())])
}

#[test]
fn the_sound_file_is_accepted() {
    assert_eq!(with("/normalizer", Value::Null).unwrap().n_vocab(), 5);
}

#[test]
fn broken_json_names_file_and_line() {
    assert_refused(load(&[("tokenizer.json", b"{\n\"model\": ")]), &["tokenizer.json", "line 2"]);
    assert_refused(load(&[("tokenizer.json", b"\xff")]), &["tokenizer.json", "byte 0", "UTF-8"]);
    assert_refused(load(&[("tokenizer.json", b"[]")]), &["tokenizer.json"]);
    let sound = sound().to_string();
    let files = [("tokenizer.json", sound.as_bytes()), ("config.json", &b"{"[..])];
    assert_refused(load(&files), &["config.json", "line 1"]);
}

#[test]
fn vocabularies_that_contradict_themselves_are_refused() {
    assert_refused(
        with("/model/vocab", json!({"a": 0, "b": 0})),
        &["model.vocab", "both have id 0"],
    );
    assert_refused(
        with("/model/vocab", json!({"a": 4_000_000_000u64})),
        &["model.vocab", "4000000000"],
    );
    assert_refused(with("/model/vocab", json!({"a": u64::MAX})), &["model.vocab"]);
    assert_refused(with("/model/vocab", json!({"a": -1})), &["line 1"]);
    assert_refused(with("/model/vocab", json!("a")), &["line 1"]);
    assert_refused(with("/model/vocab", json!([["a", 0.5]])), &["model.vocab", "map"]);
    let twice = sound().to_string().replace("\"b\":1", "\"a\":1");
    assert_refused(load(&[("tokenizer.json", twice.as_bytes())]), &["model.vocab", "two ids"]);
}

#[test]
fn merges_must_be_of_known_tokens() {
    assert_refused(with("/model/merges", json!(["a c"])), &["model.merges[0]", "\"c\""]);
    assert_refused(with("/model/merges", json!(["a b", "b a"])), &["model.merges[1]", "\"ba\""]);
    assert_refused(with("/model/merges", json!(["ab"])), &["no blank"]);
    assert_refused(with("/model/merges", json!([["a"]])), &["two parts"]);
    assert_refused(with("/model/merges", json!([["a", "b", "c"]])), &["two parts"]);
    assert_refused(with("/model/merges", json!([7])), &["two texts"]);
}

#[test]
fn added_tokens_must_have_ids_of_their_own() {
    let token = |id: u64| json!([{"id": id, "content": "<x>", "special": true}]);
    assert_refused(with("/added_tokens", token(2)), &["added_tokens[0]", "both have id 2"]);
    assert_refused(with("/added_tokens", token(1 << 40)), &["added_tokens[0]"]);
    assert_refused(with("/added_tokens", json!([{"content": "<x>"}])), &["id"]);
    let long = "x".repeat(5 << 20);
    assert_refused(
        with("/added_tokens", json!([{"id": 4, "content": long}])),
        &["added tokens", "too many"],
    );
}

#[test]
fn parts_that_hugging_face_would_trip_over_are_refused() {
    assert_refused(
        with("/model/continuing_subword_prefix", json!("##########")),
        &["not supported"],
    );
    assert_refused(with("/model/type", json!("WordPiece")), &["WordPiece", "BPE"]);
    assert_refused(with("/pre_tokenizer", json!({"type": "Whitespace"})), &["neither byte-level"]);
    let parts = |part: Value| {
        json!({"type": "Sequence", "pretokenizers": [part, {"type": "ByteLevel", "add_prefix_space": false,
               "trim_offsets": true, "use_regex": true}]})
    };
    assert_refused(
        with("/pre_tokenizer", parts(json!({"type": "FixedLength", "length": 0}))),
        &["length 0"],
    );
    let broken = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    assert_refused(with("/pre_tokenizer", parts(broken)), &["pre_tokenizer"]);
    let charsmap = json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8="});
    assert_refused(with("/normalizer", charsmap), &["precompiled_charsmap"]);
    let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
                          "special_tokens": {}});
    assert_refused(with("/post_processor", template), &["post_processor", "not in the vocabulary"]);
    let template = json!({"type": "RobertaProcessing", "cls": ["<s>", 99], "sep": ["</s>", 2]});
    assert_refused(with("/post_processor", template), &["post_processor"]);
}

#[test]
fn bombs_are_refused_or_fizzle_out() {
    let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "normalizers": parts});
    let options = EncodeOptions::default();

    let doubling = vec![replace(json!({"String": "a"}), "aa"); 60];
    let tokenizer = with("/normalizer", sequence(doubling)).unwrap();
    assert!(tokenizer.encode(&"a".repeat(1000), options).unwrap().len() < 200_000);
    let many = vec![replace(json!({"String": "a"}), "b"); 1000];
    assert_refused(with("/normalizer", sequence(many)), &["normalizer", "more parts"]);
    let long = replace(json!({"String": "a"}), &"b".repeat(1 << 20));
    assert_refused(with("/normalizer", long), &["normalizer", "long text"]);
    let long = replace(json!({"Regex": "(a|b)".repeat(1 << 20)}), "b");
    assert_refused(with("/normalizer", long), &["normalizer", "longer patterns"]);
    for pattern in [json!({"Regex": "x*"}), json!({"String": ""}), json!({"Regex": "(?=a)"})] {
        let _ = with("/normalizer", replace(pattern, "b")).and_then(|t| t.encode("aäxb", options));
    }

    let split = |pattern: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]})
    };
    for pattern in [
        "x*",
        "(?=a)",
        "(?<=a)",
        "((a*)*)*b(?=c)",
        "(((a{1000}){1000}){1000})(?=b)",
        "(?=((a{999}){999}){999})",
    ] {
        let text = "a".repeat(2000);
        let _ = with("/pre_tokenizer", split(pattern)).and_then(|t| t.encode(&text, options));
    }
    let byte_level = &split("a")["pretokenizers"][1];
    let many = json!({"type": "Sequence", "pretokenizers": vec![byte_level; 30]});
    assert_refused(with("/pre_tokenizer", many), &["pre_tokenizer", "more than once"]);
}

#[test]
fn broken_vocab_and_merges_files_name_the_line() {
    let vocab = br#"{"a": 0, "b": 1, "ab": 2}"#;
    let files = |merges: &'static [u8]| [("vocab.json", &vocab[..]), ("merges.txt", merges)];
    assert_eq!(load(&files(b"#version: 0.2\r\na b\r\n")).unwrap().n_vocab(), 3);
    assert_refused(load(&files(b"#version: 0.2\na c\n")), &["merges.txt", "line 2", "\"c\""]);
    assert_refused(load(&files(b"#version: 0.2\nab\n")), &["merges.txt", "line 2", "no blank"]);
    let added =
        [("vocab.json", &vocab[..]), ("merges.txt", b"a b"), ("added_tokens.json", br#"{"x": 1}"#)];
    assert_refused(load(&added), &["both have id 1"]);
    assert_refused(load(&[("vocab.json", b"[]"), ("merges.txt", b"")]), &["vocab.json", "map"]);
}

#[test]
fn broken_sentencepiece_files_are_refused() {
    assert_refused(load(&[("tokenizer.model", b"")]), &["tokenizer.model", "pieces"]);
    assert_refused(load(&[("tokenizer.model", b"\x0a\xff\xff\xff\xff\x0f")]), &["tokenizer.model"]);
    // Two pieces "a"; then a score that is not a number; then a word model.
    assert_refused(
        load(&[("tokenizer.model", b"\x0a\x03\x0a\x01a\x0a\x03\x0a\x01a")]),
        &["piece 1", "twice"],
    );
    assert_refused(
        load(&[("tokenizer.model", b"\x0a\x08\x0a\x01a\x15\0\0\xc0\x7f")]),
        &["piece 0", "finite"],
    );
    assert_refused(
        load(&[("tokenizer.model", b"\x0a\x03\x0a\x01a\x12\x02\x18\x03")]),
        &["model type 3"],
    );
}

/// Sound metadata of a byte-level tokenizer.
fn metadata() -> Metadata {
    let mut metadata = Metadata::new("x.gguf");
    metadata.set("tokenizer.ggml.model", "gpt2");
    metadata.set("tokenizer.ggml.pre", "gpt-2");
    metadata.set("tokenizer.ggml.tokens", ["a", "b", "ab"].map(String::from).to_vec());
    metadata.set("tokenizer.ggml.token_type", vec![1i32, 1, 1]);
    metadata.set("tokenizer.ggml.merges", vec!["a b".to_owned()]);
    metadata
}

#[test]
fn broken_metadata_name_file_and_key() {
    assert!(Tokenizer::from_metadata(&metadata()).is_ok());
    let refuse = |change: &dyn Fn(&mut Metadata), words: &[&str]| {
        let mut metadata = metadata();
        change(&mut metadata);
        assert_refused(Tokenizer::from_metadata(&metadata), words);
    };
    refuse(&|m| m.set("tokenizer.ggml.model", "rwkv"), &["x.gguf", "rwkv", "gpt2"]);
    refuse(&|m| m.set("tokenizer.ggml.model", 7u32), &["x.gguf", "tokenizer.ggml.model"]);
    refuse(
        &|m| m.set("tokenizer.ggml.tokens", vec![1u32]),
        &["tokenizer.ggml.tokens", "list of strings"],
    );
    refuse(&|m| m.set("tokenizer.ggml.tokens", Vec::<String>::new()), &["tokenizer.ggml.tokens"]);
    refuse(&|m| m.set("tokenizer.ggml.token_type", vec![1i32]), &["token_type", "1 entries for 3"]);
    refuse(&|m| m.set("tokenizer.ggml.scores", vec![f32::NAN, 0.0, 0.0]), &["scores", "score 0"]);
    refuse(&|m| m.set("tokenizer.ggml.merges", vec!["ab".to_owned()]), &["merges[0]", "no blank"]);
    refuse(&|m| m.set("tokenizer.ggml.merges", vec!["a c".to_owned()]), &["merges[0]", "\"c\""]);
    refuse(&|m| m.set("tokenizer.ggml.add_bos_token", "yes"), &["add_bos_token", "bool"]);
    refuse(&|m| _ = m.remove("tokenizer.ggml.tokens"), &["x.gguf", "no tokenizer", "convert"]);
}

#[test]
fn ids_outside_the_vocabulary_are_ignored_with_a_note() {
    let mut metadata = metadata();
    metadata.set("tokenizer.ggml.eos_token_id", 99u32);
    metadata.set("tokenizer.ggml.bos_token_id", -1i32);
    let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
    assert_eq!((tokenizer.eos(), tokenizer.bos()), (None, None));
    assert_eq!(tokenizer.notes().len(), 1);
    assert_eq!(tokenizer.decode(&[0, 99, u32::MAX, 1], false), "ab");
}

#[test]
fn a_missing_folder_is_an_error() {
    let result = Tokenizer::from_folder(Path::new("there/is/no/such/folder"), &Limits::default());
    assert_refused(result, &["there/is/no/such/folder", "tokenizer.json"]);
}

#[test]
fn files_above_the_limit_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), sound().to_string()).unwrap();
    let limits = Limits { header_bytes: 16, ..Limits::default() };
    let result = Tokenizer::from_folder(folder.path(), &limits);
    assert_refused(result, &["tokenizer.json", "limit of 16"]);
}

proptest! {
    #[test]
    fn any_change_of_a_byte_gives_an_error_or_a_working_tokenizer(at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = sound().to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(tokenizer) = load(&[("tokenizer.json", &bytes)]) {
            let options = EncodeOptions { add_special: true, parse_special: true };
            let _ = tokenizer.encode("ab <x> ba", options);
            let _ = tokenizer.to_metadata(tokenizer.n_vocab(), &mut Metadata::new("memory"));
        }
    }

    #[test]
    fn any_bytes_as_sentencepiece_give_an_error_or_a_working_tokenizer(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        if let Ok(tokenizer) = load(&[("tokenizer.model", &bytes)]) {
            let _ = tokenizer.encode("ab <x> ba", EncodeOptions::default());
        }
    }
}

#[test]
fn a_single_file_is_read_by_its_content_and_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Tokenizer::from_path(&path, &Limits::default())
    };
    assert!(load("mine", sound().to_string().as_bytes()).is_ok());
    assert_refused(load("broken", b"{\"model\": "), &["broken", "line 1"]);
    assert_refused(load("pieces", b"\x0a\xff\xff\xff\xff\x0f"), &["pieces"]);
    assert_refused(load("empty", b""), &["empty"]);
    let nowhere = folder.path().join("nowhere");
    assert_refused(
        Tokenizer::from_path(&nowhere, &Limits::default()),
        &["nowhere", "tokenizer.json"],
    );
    let limits = Limits { header_bytes: 16, ..Limits::default() };
    assert_refused(Tokenizer::from_path(&folder.path().join("mine"), &limits), &["limit of 16"]);
}
