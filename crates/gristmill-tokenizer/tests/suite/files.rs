//! What the files of a model folder say, on small tokenizers made for the purpose.

use std::path::Path;

use gristmill_tensor::{Limits, MetaArray, MetaValue, Metadata};
use gristmill_tokenizer::{EncodeOptions, Error, TokenId, Tokenizer};
use serde_json::{Value, json};

const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
const SPECIAL: EncodeOptions = EncodeOptions { add_special: true, parse_special: true };

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn load(path: &Path) -> Result<Tokenizer, Error> {
    Tokenizer::from_folder(path, &Limits::default())
}

fn load_json(json: &Value, config: &Value) -> Tokenizer {
    let (json, config) = (json.to_string(), config.to_string());
    let folder = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer_config.json", config.as_bytes()),
    ]);
    load(folder.path()).unwrap()
}

/// A byte-level tokenizer.json over a few letters.
fn byte_level() -> Value {
    json!({
        "added_tokens": [
            {"id": 8, "content": "<|end|>", "special": true, "normalized": false},
            {"id": 9, "content": "  ", "special": false, "normalized": false},
            {"id": 12, "content": "<|start|>", "special": true, "normalized": false},
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "vocab": {"h": 0, "e": 1, "l": 2, "o": 3, "Ġ": 4, "he": 5, "ll": 6, "hell": 7},
            "merges": ["h e", ["l", "l"], "he ll"],
        },
    })
}

/// The same tokenizer after a way through metadata.
fn reload(tokenizer: &Tokenizer) -> Tokenizer {
    let mut metadata = Metadata::new("memory");
    tokenizer.to_metadata(tokenizer.n_vocab(), &mut metadata).unwrap();
    Tokenizer::from_metadata(&metadata).unwrap()
}

#[test]
fn added_tokens_behind_gaps_keep_their_ids() {
    let tokenizer = load_json(&byte_level(), &json!({}));
    assert_eq!(tokenizer.n_vocab(), 13);
    for tokenizer in [reload(&tokenizer), tokenizer] {
        let ids = tokenizer.encode("<|start|>hello  he<|end|>", SPECIAL).unwrap();
        assert_eq!(ids, [12, 7, 3, 9, 5, 8]);
        assert_eq!(tokenizer.decode(&ids, false), "<|start|>hello  he<|end|>");
        assert_eq!(tokenizer.decode(&ids, true), "hello  he");
        assert_eq!(tokenizer.token_bytes(10), b"");
        assert_eq!(tokenizer.token_bytes(4), b" ");
        assert!(tokenizer.is_eog(8) && !tokenizer.is_eog(12));
    }
}

#[test]
fn text_cannot_spell_special_tokens_unless_it_may() {
    let mut json = byte_level();
    for (id, character) in (13..).zip(["<", "|", "n", "d", ">"]) {
        json["model"]["vocab"][character] = id.into();
    }
    let tokenizer = load_json(&json, &json!({}));
    for tokenizer in [reload(&tokenizer), tokenizer] {
        assert_eq!(tokenizer.encode("<|end|>", PLAIN).unwrap(), [13, 14, 1, 15, 16, 14, 17]);
        assert_eq!(tokenizer.encode("<|end|>", SPECIAL).unwrap(), [8]);
    }
}

#[test]
fn the_template_of_a_tokenizer_json_decides_what_stands_around_a_text() {
    let mut json = byte_level();
    json["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|start|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "special_tokens": {"<|start|>": {"id": "<|start|>", "ids": [12], "tokens": ["<|start|>"]}},
    });
    let config = json!({
        "bos_token": {"content": "<|start|>"}, "eos_token": "<|end|>",
        "add_bos_token": false, "add_eos_token": true,
    });
    let tokenizer = load_json(&json, &config);
    for tokenizer in [reload(&tokenizer), tokenizer] {
        assert_eq!(tokenizer.encode("he", SPECIAL).unwrap(), [12, 5]);
        assert!(tokenizer.adds_bos() && !tokenizer.adds_eos());
    }
    json["post_processor"] = Value::Null;
    let tokenizer = load_json(&json, &config);
    assert_eq!(tokenizer.encode("he", SPECIAL).unwrap(), [5, 8]);
    assert_eq!(tokenizer.special_text("bos_token"), Some("<|start|>"));
}

#[test]
fn cuts_without_a_name_keep_the_exact_json_and_say_so() {
    let mut json = byte_level();
    json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "he|l"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]});
    let tokenizer = load_json(&json, &json!({}));
    let mut metadata = Metadata::new("memory");
    let notes = tokenizer.to_metadata(20, &mut metadata).unwrap();
    assert_eq!(notes.len(), 1);
    let again = Tokenizer::from_metadata(&metadata).unwrap();
    assert_eq!(again.encode("hello", PLAIN).unwrap(), [5, 2, 2, 3], "ll is cut apart");
    // A tokenizer.json of other tokens is not believed.
    metadata.set("tokenizer.huggingface.json", byte_level().to_string().replace("\"o\"", "\"x\""));
    let rough = Tokenizer::from_metadata(&metadata).unwrap();
    assert_eq!(rough.encode("hello", PLAIN).unwrap(), [7, 3]);
    assert_eq!(rough.notes().len(), 1);
}

#[test]
fn names_of_cuts_survive_and_unknown_ones_are_refused_with_the_known_ones() {
    let mut metadata = Metadata::new("memory");
    load_json(&byte_level(), &json!({})).to_metadata(13, &mut metadata).unwrap();
    metadata.set("tokenizer.ggml.pre", "smollm");
    let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
    assert_eq!(tokenizer.kind(), "BPE (byte-level), pre smollm");
    tokenizer.to_metadata(13, &mut metadata).unwrap();
    assert_eq!(metadata.get_str("tokenizer.ggml.pre").unwrap(), Some("smollm"));

    metadata.set("tokenizer.ggml.pre", "of-tomorrow");
    let message = Tokenizer::from_metadata(&metadata).unwrap_err().to_string();
    assert!(message.contains("of-tomorrow") && message.contains("llama-bpe"), "{message}");

    metadata.remove("tokenizer.ggml.pre");
    let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
    assert_eq!(tokenizer.kind(), "BPE (byte-level), pre default");
    assert_eq!(tokenizer.notes().len(), 1);
}

#[test]
fn chat_templates_come_from_text_list_and_file() {
    let one = load_json(&byte_level(), &json!({"chat_template": "{{ one }}"}));
    assert_eq!(one.chat_template(), Some("{{ one }}"));
    let list = json!({"chat_template": [
        {"name": "tool_use", "template": "{{ tools }}"}, {"name": "default", "template": "{{ two }}"},
    ]});
    let two = load_json(&byte_level(), &list);
    assert_eq!(two.chat_template(), Some("{{ two }}"));
    let mut metadata = Metadata::new("memory");
    two.to_metadata(13, &mut metadata).unwrap();
    assert_eq!(metadata.get_str("tokenizer.chat_template").unwrap(), Some("{{ two }}"));
    assert_eq!(metadata.get_str("tokenizer.chat_template.tool_use").unwrap(), Some("{{ tools }}"));
    let json = byte_level().to_string();
    let folder = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer_config.json", br#"{"chat_template": "{{ old }}"}"#),
        ("chat_template.jinja", b"{{ new }}"),
    ]);
    assert_eq!(load(folder.path()).unwrap().chat_template(), Some("{{ new }}"));
}

#[test]
fn every_end_of_text_that_a_file_names_ends_a_generation() {
    let json = byte_level().to_string();
    let folder = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer_config.json", br#"{"eos_token": "hell"}"#),
        ("generation_config.json", br#"{"eos_token_id": [6, 8, 4000]}"#),
        ("config.json", br#"{"eos_token_id": 5, "bos_token_id": null}"#),
    ]);
    let tokenizer = load(folder.path()).unwrap();
    assert_eq!(tokenizer.eos(), Some(7));
    assert_eq!(tokenizer.bos(), None);
    let ends: Vec<TokenId> = (0..13).filter(|&id| tokenizer.is_eog(id)).collect();
    assert_eq!(ends, [5, 6, 7, 8]);
}

#[test]
fn padding_fills_the_embedding_with_unique_texts() {
    let mut json = byte_level();
    json["added_tokens"][2]["content"] = "[PAD14]".into();
    let tokenizer = load_json(&json, &json!({}));
    let mut metadata = Metadata::new("memory");
    metadata.set("tokenizer.ggml.scores", vec![1.0f32]);
    tokenizer.to_metadata(16, &mut metadata).unwrap();
    let texts = metadata.get_strings("tokenizer.ggml.tokens").unwrap().unwrap();
    assert_eq!(texts[10..], ["[PAD10]", "[PAD11]", "[PAD14]", "[PAD13]", "[PAD14]_", "[PAD15]"]);
    let types = metadata.get_i32s("tokenizer.ggml.token_type").unwrap().unwrap();
    assert_eq!(types[7..], [1, 3, 4, 5, 5, 3, 5, 5, 5]);
    assert!(!metadata.contains("tokenizer.ggml.scores"), "stale keys are removed");

    let error = tokenizer.to_metadata(12, &mut metadata).unwrap_err();
    assert!(matches!(error, Error::TooManyTokens { n_tokens: 13, n_vocab: 12, .. }), "{error}");
}

#[test]
fn a_folder_without_tokenizer_says_what_was_looked_for() {
    let folder = folder(&[("config.json", b"{}")]);
    let message = load(folder.path()).unwrap_err().to_string();
    for name in ["tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"] {
        assert!(message.contains(name), "{message}");
    }
}

/// A SentencePiece model: pieces with score and kind, model type, and whether runs of blanks are joined.
fn sentencepiece(pieces: &[(&str, f32, u8)], model_type: u8, remove_extra: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (text, score, kind) in pieces {
        let mut piece = vec![0x0a, text.len() as u8];
        piece.extend(text.as_bytes());
        piece.push(0x15);
        piece.extend(score.to_le_bytes());
        piece.extend([0x18, *kind]);
        bytes.extend([0x0a, piece.len() as u8]);
        bytes.extend(piece);
    }
    bytes.extend([0x12, 2, 0x18, model_type]);
    bytes.extend([0x1a, 2, 0x20, u8::from(remove_extra)]);
    bytes
}

fn load_sentencepiece(pieces: &[(&str, f32, u8)], model_type: u8) -> Tokenizer {
    let model = sentencepiece(pieces, model_type, false);
    load(folder(&[("tokenizer.model", &model)]).path()).unwrap()
}

const CONTROLS: [(&str, f32, u8); 3] = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)];

#[test]
fn pieces_merge_by_score_and_from_the_left() {
    let mut pieces = CONTROLS.to_vec();
    pieces.extend([("▁", -9.0, 1), ("a", -9.0, 1), ("b", -9.0, 1)]);
    pieces.extend([("aa", -1.0, 1), ("ab", 0.0, 1), ("aaa", -2.0, 1), ("<0x63>", 0.0, 6)]);
    let tokenizer = load_sentencepiece(&pieces, 2);
    for tokenizer in [reload(&tokenizer), tokenizer] {
        assert_eq!(tokenizer.kind(), "SentencePiece BPE");
        let encode = |text| tokenizer.encode(text, PLAIN).unwrap();
        assert_eq!(encode("aaa"), [3, 8], "(aa)a becomes aaa");
        assert_eq!(encode("aaaa"), [3, 6, 6], "the leftmost pair first, then the other");
        assert_eq!(encode("aab"), [3, 4, 7], "ab has the better score");
        assert_eq!(encode("c"), [3, 9], "a byte");
        assert_eq!(encode("dd"), [3, 0], "one unknown for a run");
        assert_eq!(encode("</s>"), [3, 0], "text does not spell control pieces");
        assert_eq!(tokenizer.encode("a</s>b", SPECIAL).unwrap(), [1, 3, 4, 2, 3, 5]);
        assert!(encode("").is_empty());
        assert_eq!(tokenizer.decode(&[1, 3, 4, 3, 5, 9], true), "a bc");
    }
}

#[test]
fn joined_blanks_are_joined_also_after_metadata() {
    let mut pieces = CONTROLS.to_vec();
    pieces.extend([("▁", -9.0, 1), ("a", -9.0, 1)]);
    let model = sentencepiece(&pieces, 2, true);
    let tokenizer = load(folder(&[("tokenizer.model", &model)]).path()).unwrap();
    for tokenizer in [reload(&tokenizer), tokenizer] {
        assert_eq!(tokenizer.encode("  a   a ", PLAIN).unwrap(), [3, 4, 3, 4]);
    }
}

#[test]
fn unigram_models_take_the_best_sum_of_scores() {
    let mut pieces = CONTROLS.to_vec();
    pieces.extend([
        ("▁a", -1.0, 1),
        ("b", -1.0, 1),
        ("ab", -1.0, 1),
        ("▁", -5.0, 1),
        ("▁ab", -2.5, 1),
    ]);
    let tokenizer = load_sentencepiece(&pieces, 1);
    for tokenizer in [reload(&tokenizer), tokenizer] {
        assert_eq!(tokenizer.kind(), "SentencePiece unigram");
        assert_eq!(tokenizer.encode("ab", PLAIN).unwrap(), [3, 4], "-2 is better than -2.5 and -6");
        assert_eq!(tokenizer.encode("ab", SPECIAL).unwrap(), [3, 4, 2], "unigram models add EOS");
        assert_eq!(tokenizer.decode(&[3, 4], true), "ab");
    }
}

#[test]
fn vocabularies_of_legacy_files_are_completed() {
    let mut metadata = Metadata::new("legacy");
    metadata.set("tokenizer.ggml.model", "llama");
    let pieces: Vec<Vec<u8>> = [" ⁇ ".as_bytes(), b"", b"", b"\x00", b"\xff"]
        .into_iter()
        .chain([&b" "[..], b"a", b"b", b"ab", b" ab"])
        .map(<[u8]>::to_vec)
        .collect();
    // Pad the bytes, so that the pieces stand where they do in real files.
    let mut tokens = pieces[..3].to_vec();
    tokens.extend((0..=255u8).map(|byte| vec![byte]));
    tokens.extend(pieces[5..].to_vec());
    metadata.set("tokenizer.ggml.tokens", MetaValue::Array(MetaArray::Bytes(tokens)));
    let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
    assert_eq!(tokenizer.notes().len(), 1, "no scores: {:?}", tokenizer.notes());
    assert_eq!(tokenizer.encode("ab a", SPECIAL).unwrap(), [1, 263, 259, 260]);
    assert_eq!(tokenizer.token_text(3).as_deref(), Some("<0x00>"));
    assert_eq!(tokenizer.eos(), Some(2));
}

#[test]
fn repeated_tokens_of_legacy_files_are_decoded_but_not_encoded() {
    let tokens = ["h", "e", "l", "o", " ", "he", "ll", "hell", "o", "<|endoftext|>"];
    let mut metadata = Metadata::new("legacy");
    metadata.set("tokenizer.ggml.model", "gpt2");
    metadata.set("tokenizer.ggml.tokens", tokens.map(String::from).to_vec());
    let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
    assert_eq!(tokenizer.encode("hello hell", PLAIN).unwrap(), [7, 3, 4, 7]);
    assert_eq!(tokenizer.decode(&[7, 8, 4, 5], true), "hello he", "a repeated token is decoded");
    assert_eq!(tokenizer.eos(), Some(9));
    assert_eq!(tokenizer.notes().len(), 2, "{:?}", tokenizer.notes());
    let again = reload(&tokenizer);
    assert_eq!(again.encode("hello hell", PLAIN).unwrap(), [7, 3, 4, 7]);
}

#[test]
fn many_blanks_are_one_word_and_too_many_an_error() {
    let mut json = byte_level();
    json["added_tokens"] = json!([]);
    let tokenizer = load_json(&json, &json!({}));
    let text = format!("he{}he", " ".repeat(200_000));
    let ids = tokenizer.encode(&text, PLAIN).unwrap();
    assert_eq!(ids.len(), 200_002);
    assert_eq!(ids.last(), Some(&5));
    let error = tokenizer.encode(&" ".repeat(300_000), PLAIN).unwrap_err();
    assert!(matches!(error, Error::Encode { .. }), "{error}");
}
