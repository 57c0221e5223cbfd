//! Opening whatever lies at a path, and saying what is wrong with it before any work.

use std::fs;
use std::path::Path;

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::tensor::{AtomicFile, Format, Metadata, ModelHeader};
use gristmill::{Error, OpenOptions, open, open_with};
use gristmill_testkit::{Options, tiny};
use serde_json::json;

fn saved(arch: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny(arch, &Options::default()).save(folder.path()).unwrap();
    folder
}

fn refusal(path: &Path) -> String {
    open(path).err().expect("it cannot be opened").to_string()
}

/// Splits `model.safetensors` into a file for each of three shards, with their index.
fn split(folder: &Path) -> Vec<String> {
    let path = folder.join("model.safetensors");
    let whole = gristmill::open_raw(&path, &OpenOptions::default()).unwrap();
    let names: Vec<String> =
        (1..=3).map(|n| format!("model-0000{n}-of-00003.safetensors")).collect();
    let mut weight_map = serde_json::Map::new();
    for (part, name) in whole.tensors().chunks(whole.tensors().len().div_ceil(3)).zip(&names) {
        let file = AtomicFile::create(folder.join(name), false).unwrap();
        let header = ModelHeader { metadata: &Metadata::default(), tensors: part };
        let sink = gristmill::safetensors::Safetensors.create(file, &header).unwrap();
        for (position, info) in part.iter().enumerate() {
            sink.write(position, 0, &whole.tensor(&info.name).unwrap().bytes).unwrap();
            weight_map.insert(info.name.clone(), name.as_str().into());
        }
        sink.finish().unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": weight_map });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    drop(whole);
    fs::remove_file(path).unwrap();
    names
}

#[test]
fn a_folder_and_any_file_in_it_are_the_same_model() {
    let folder = saved("llama");
    let whole = open(folder.path()).unwrap();
    let expected = whole.checkpoint().tensors().to_vec();
    let file = open(folder.path().join("model.safetensors")).unwrap();
    assert_eq!(file.checkpoint().tensors(), expected);
    drop((whole, file));

    let shards = split(folder.path());
    for name in ["", "model.safetensors.index.json", &shards[0], &shards[2]] {
        let opened = open(folder.path().join(name)).unwrap();
        assert_eq!(opened.checkpoint().tensors(), expected, "{name}");
        assert_eq!(opened.files().len(), 3);
        opened.model().unwrap();
    }
}

#[test]
fn a_gguf_file_is_what_its_checkpoint_is() {
    for arch in ["bloom", "falcon", "gpt2", "gptj", "gptneox", "llama", "mpt"] {
        let folder = saved(arch);
        let checkpoint = open(folder.path()).unwrap();
        let options = ConvertOptions { outtype: OutType::F32, ..ConvertOptions::default() };
        let report = gristmill::convert(folder.path(), folder.path(), &options).unwrap();
        let file = open(&report.output).unwrap();
        assert_eq!(file.checkpoint().tensors(), checkpoint.checkpoint().tensors());
        for (key, value) in checkpoint.metadata().iter() {
            assert_eq!(file.metadata().get(key), Some(value), "{key}");
        }
        let text = "Once upon a time";
        let ids = checkpoint.tokenizer().unwrap().encode(text, Default::default()).unwrap();
        assert_eq!(file.tokenizer().unwrap().encode(text, Default::default()).unwrap(), ids);
    }
}

#[test]
fn everything_that_is_missing_is_listed_at_once() {
    let folder = saved("gptj");
    let shards = split(folder.path());
    fs::remove_file(folder.path().join(&shards[0])).unwrap();
    fs::write(
        folder.path().join(&shards[1]),
        "version https://git-lfs.github.com/spec/v1\nsize 7\n",
    )
    .unwrap();
    fs::remove_file(folder.path().join("config.json")).unwrap();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let refusal = refusal(folder.path());
    for part in [&*shards[0], "Git LFS pointer", "config.json", "tokenizer.json", "tokenizer.model"]
    {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    assert!(!refusal.contains(&*shards[2]), "{refusal}");
}

#[test]
fn a_model_without_tokenizer_opens_on_demand() {
    let folder = saved("gptj");
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let refusal = refusal(folder.path());
    assert!(refusal.contains("tokenizer.json"), "{refusal}");

    let options = OpenOptions { vocab_less: true, ..OpenOptions::default() };
    let opened = open_with(folder.path(), &options).unwrap();
    opened.model().unwrap();
    assert!(matches!(opened.tokenizer(), Err(Error::Tokenizer(_))));
}

#[test]
fn shards_without_their_index_are_not_taken_for_several_models() {
    let folder = saved("gptj");
    split(folder.path());
    fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
    let refusal = refusal(folder.path());
    assert!(refusal.contains("index"), "{refusal}");
}

#[test]
fn an_index_cannot_lead_out_of_its_folder() {
    let folder = saved("gptj");
    let index = json!({ "weight_map": { "a": "../model.safetensors" } });
    fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert!(refusal(folder.path()).contains("../model.safetensors"));
}

#[test]
fn a_file_that_is_no_model_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, word) in [
        ("model.gguf", &b"<!DOCTYPE html><html>"[..], "web page"),
        ("pytorch_model.bin", b"", "empty"),
        ("model.safetensors", &[0; 100], "zeros"),
        ("ggml-replit.bin", b"lper\0\0\0\0", "Replit"),
        ("config.json", b"{}", "folder"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let refusal = refusal(&path);
        assert!(refusal.contains(word) && refusal.contains(name), "{name}: {refusal}");
    }
    assert!(refusal(&folder.path().join("gone.gguf")).contains("gone.gguf"));
}

#[test]
fn a_broken_config_is_shown_with_its_line() {
    let folder = saved("gptj");
    fs::write(folder.path().join("config.json"), "{\n  \"model_type\": gptj\n}").unwrap();
    let refusal = refusal(folder.path());
    assert!(refusal.contains("config.json") && refusal.contains("line 2"), "{refusal}");
}

#[test]
fn an_unknown_architecture_can_still_be_looked_at() {
    let folder = saved("gptj");
    fs::write(folder.path().join("config.json"), r#"{ "model_type": "unheard_of" }"#).unwrap();
    assert!(refusal(folder.path()).contains("unheard_of"));
    let raw = gristmill::open_raw(folder.path(), &OpenOptions::default()).unwrap();
    assert!(raw.find("transformer.wte.weight").is_some());
}
