//! Token ids of other people's files, against those that Hugging Face's and Google's own code gave.

use std::path::{Path, PathBuf};

use gristmill_tensor::{Limits, Metadata};
use gristmill_tokenizer::{EncodeOptions, TextStream, Tokenizer};

const WITH_SPECIAL: EncodeOptions = EncodeOptions { add_special: true, parse_special: false };

/// The folder of recorded models, or a loud remark.
fn oracle() -> Option<PathBuf> {
    gristmill_testkit::oracle("token ids that others recorded")
}

/// The folders inside a folder, in order.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

struct Prompt {
    text: String,
    ids: Vec<u32>,
}

/// The prompts recorded for a model.
fn prompts(oracle: &Path, model: &str) -> Vec<Prompt> {
    let text = std::fs::read_to_string(oracle.join(format!("oracle/{model}.json"))).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let prompts: Vec<Prompt> = json["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|prompt| Prompt {
            text: prompt["text"].as_str().unwrap().to_owned(),
            ids: serde_json::from_value(prompt["ids"].clone()).unwrap(),
        })
        .collect();
    assert_eq!(prompts.len(), 4);
    prompts
}

/// Every container of every model, with its name.
fn models(oracle: &Path) -> Vec<(String, PathBuf)> {
    let mut models = Vec::new();
    for model in folders(&oracle.join("models")) {
        let name = model.file_name().unwrap().to_str().unwrap().to_owned();
        models.extend(folders(&model).into_iter().map(|container| (name.clone(), container)));
    }
    assert!(models.len() > 20);
    models
}

fn load(folder: &Path) -> Tokenizer {
    Tokenizer::from_folder(folder, &Limits::default()).unwrap()
}

/// The tokenizer after a way through metadata. The recorded BLOOM has a pattern of its own (an ASCII comma where the
/// original has a wide one), so it is the only one whose exact file must be kept.
fn reload(tokenizer: &Tokenizer, n_vocab: usize, model: &str) -> Tokenizer {
    let mut metadata = Metadata::new("memory");
    let notes = tokenizer.to_metadata(n_vocab, &mut metadata).unwrap();
    assert_eq!(notes.len(), usize::from(model == "bloom-a"), "{notes:?}");
    let again = Tokenizer::from_metadata(&metadata).unwrap();
    assert!(again.notes().is_empty(), "{:?}", again.notes());
    again
}

#[track_caller]
fn assert_prompts(tokenizer: &Tokenizer, prompts: &[Prompt], place: &Path) {
    for prompt in prompts {
        let ids = tokenizer.encode(&prompt.text, WITH_SPECIAL).unwrap();
        assert_eq!(ids, prompt.ids, "{}: {:?}", place.display(), prompt.text);
        assert_eq!(tokenizer.decode(&ids, true), prompt.text, "{}", place.display());
        let mut stream = TextStream::new(tokenizer, true);
        let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
        text += &stream.flush();
        assert_eq!(text, prompt.text, "{}", place.display());
    }
}

#[test]
fn model_folders_give_the_recorded_ids() {
    let Some(oracle) = oracle() else { return };
    for (model, folder) in models(&oracle) {
        assert_prompts(&load(&folder), &prompts(&oracle, &model), &folder);
    }
}

#[test]
fn ids_survive_the_way_through_metadata() {
    let Some(oracle) = oracle() else { return };
    for (model, folder) in models(&oracle) {
        let tokenizer = load(&folder);
        let again = reload(&tokenizer, tokenizer.n_vocab() + 5, &model);
        assert_prompts(&again, &prompts(&oracle, &model), &folder);
        assert_eq!((again.bos(), again.eos()), (tokenizer.bos(), tokenizer.eos()));
        assert_eq!(again.adds_bos(), tokenizer.adds_bos());
        if model != "bloom-a" {
            assert_eq!(again.kind(), tokenizer.kind());
        }
        let ends =
            |tokenizer: &Tokenizer| (0..600).filter(|&id| tokenizer.is_eog(id)).collect::<Vec<_>>();
        assert_eq!(ends(&again), ends(&tokenizer));
    }
}

/// Copies a folder without some of its files.
fn without(folder: &Path, names: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_text =
            name.ends_with(".json") || name.ends_with(".txt") || name == "tokenizer.model";
        if is_text && !names.contains(&name.as_str()) {
            std::fs::copy(&path, copy.path().join(name)).unwrap();
        }
    }
    copy
}

#[test]
fn every_kind_of_file_alone_gives_the_same_ids() {
    let Some(oracle) = oracle() else { return };
    for (model, folder) in models(&oracle) {
        let prompts = prompts(&oracle, &model);
        if folder.join("vocab.json").exists() {
            let copy = without(&folder, &["tokenizer.json"]);
            let tokenizer = load(copy.path());
            assert_prompts(&tokenizer, &prompts, &folder);
        }
        if folder.join("tokenizer.json").exists() && folder.join("tokenizer.model").exists() {
            let copy = without(&folder, &["tokenizer.json"]);
            assert_prompts(&load(copy.path()), &prompts, &folder);
            let copy = without(&folder, &["tokenizer.model"]);
            let tokenizer = load(copy.path());
            assert_prompts(&tokenizer, &prompts, &folder);
            // The scores now come from the order of the merges.
            assert_prompts(&reload(&tokenizer, tokenizer.n_vocab(), &model), &prompts, &folder);
        }
    }
}

#[test]
fn files_of_llama_cpp_give_the_recorded_ids() {
    use gristmill_tensor::Checkpoint;
    let Some(oracle) = oracle() else { return };
    let mut n_files = 0;
    for folder in folders(&oracle.join("gguf")) {
        let model = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let prompts = prompts(&oracle, &model);
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let file = gristmill_gguf::Reader::open(&path).unwrap();
            let tokenizer = Tokenizer::from_metadata(file.metadata()).unwrap();
            assert!(tokenizer.notes().is_empty(), "{:?}", tokenizer.notes());
            assert_prompts(&tokenizer, &prompts, &path);
            n_files += 1;
        }
    }
    assert!(n_files > 10);
}

/// The files of a tokenizer in a folder.
fn write(tokenizer: &Tokenizer) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in tokenizer.to_files().unwrap() {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Loads what `tokenizer` writes, as a whole and each file by itself.
#[track_caller]
fn assert_written(tokenizer: &Tokenizer, prompts: &[Prompt], place: &Path) {
    let folder = write(tokenizer);
    let again = load(folder.path());
    assert!(again.notes().is_empty(), "{:?}", again.notes());
    assert_eq!(
        (again.bos(), again.eos()),
        (tokenizer.bos(), tokenizer.eos()),
        "{}",
        place.display()
    );
    assert_eq!(again.chat_template(), tokenizer.chat_template());
    assert_prompts(&again, prompts, place);
    for name in ["tokenizer.json", "tokenizer.model"] {
        let path = folder.path().join(name);
        if path.exists() {
            let alone = Tokenizer::from_path(&path, &Limits::default()).unwrap();
            assert_prompts(&alone, prompts, place);
            alone.check_matches(tokenizer).unwrap();
        }
    }
}

#[test]
fn written_folders_give_the_recorded_ids() {
    use gristmill_tensor::Checkpoint;
    let Some(oracle) = oracle() else { return };
    for (model, folder) in models(&oracle) {
        let prompts = prompts(&oracle, &model);
        assert_written(&load(&folder), &prompts, &folder);
        let copy = without(&folder, &["tokenizer.json"]);
        if copy.path().join("tokenizer.model").exists() || copy.path().join("vocab.json").exists() {
            assert_written(&load(copy.path()), &prompts, &folder);
        }
    }
    for folder in folders(&oracle.join("gguf")) {
        let model = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let file = gristmill_gguf::Reader::open(&path).unwrap();
            let tokenizer = Tokenizer::from_metadata(file.metadata()).unwrap();
            assert_written(&tokenizer, &prompts(&oracle, &model), &path);
        }
    }
}

#[test]
fn our_keys_are_those_of_llama_cpp() {
    use gristmill_tensor::Checkpoint;
    let Some(oracle) = oracle() else { return };
    for (model, container, file) in [
        ("bloom-a", "st-f32", "bloom-a.f16.gguf"),
        ("llama-sp", "st-f16", "llama-sp.Q4_0.gguf"),
        ("mpt-a", "bin-bf16", "mpt-a.q8_0.gguf"),
    ] {
        let theirs =
            gristmill_gguf::Reader::open(&oracle.join("gguf").join(model).join(file)).unwrap();
        let theirs = theirs.metadata();
        let tokenizer = load(&oracle.join("models").join(model).join(container));
        let mut ours = Metadata::new("memory");
        tokenizer.to_metadata(tokenizer.n_vocab(), &mut ours).unwrap();
        for (key, value) in theirs.iter().filter(|(key, _)| key.starts_with("tokenizer.")) {
            assert_eq!(ours.get(key), Some(value), "{model}: {key}");
        }
    }
}

#[test]
fn bare_vocabularies_of_legacy_files_are_carried_forward_to_the_recorded_ids() {
    use gristmill_tensor::{MetaArray, MetaValue};
    let Some(oracle) = oracle() else { return };
    for (model, container) in
        [("gptj-a", "st-f32"), ("mpt-a", "bin-bf16"), ("llama-mha", "bin-f16")]
    {
        let tokenizer = load(&oracle.join("models").join(model).join(container));
        let llama = model.starts_with("llama");
        // As the converters wrote them: decoded bytes; for LLaMA also scores, and no text for control pieces.
        let piece = |id: u32| match id {
            0 if llama => " ⁇ ".into(),
            1 | 2 if llama => Vec::new(),
            _ => tokenizer.token_bytes(id),
        };
        let pieces = (0..tokenizer.n_vocab() as u32).map(piece).collect();
        let mut metadata = Metadata::new("legacy");
        metadata.set("tokenizer.ggml.model", if llama { "llama" } else { "gpt2" });
        metadata.set("tokenizer.ggml.tokens", MetaValue::Array(MetaArray::Bytes(pieces)));
        let bare = Tokenizer::from_metadata(&metadata).unwrap();
        assert_eq!(bare.notes().len(), 1, "{:?}", bare.notes());
        tokenizer.check_matches(&bare).unwrap();
        // The programs of the time divided text otherwise than these ids; what is carried forward divides it rightly.
        let notes = bare.to_metadata(bare.n_vocab(), &mut metadata).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        let carried = Tokenizer::from_metadata(&metadata).unwrap();
        assert!(carried.notes().is_empty(), "{:?}", carried.notes());
        assert_prompts(&carried, &prompts(&oracle, model), Path::new(model));
        let folder = write(&bare);
        assert_prompts(&load(folder.path()), &prompts(&oracle, model), Path::new(model));
    }
}
