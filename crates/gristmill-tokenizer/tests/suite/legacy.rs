//! Vocabularies of legacy ggml files: applied as the programs of their day did, and carried forward.

use gristmill_tensor::{MetaArray, MetaValue, Metadata};
use gristmill_tokenizer::{EncodeOptions, Error, Tokenizer};
use proptest::prelude::*;

/// What the reader of a legacy file answers.
fn bare(model: &str, texts: &[&[u8]]) -> Metadata {
    let texts = texts.iter().map(|text| text.to_vec()).collect();
    let mut metadata = Metadata::new("legacy.bin");
    metadata.set("tokenizer.ggml.model", model);
    metadata.set("tokenizer.ggml.tokens", MetaValue::Array(MetaArray::Bytes(texts)));
    metadata
}

fn load(metadata: &Metadata) -> Tokenizer {
    Tokenizer::from_metadata(metadata).unwrap()
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, EncodeOptions::default()).unwrap()
}

const GPT: [&[u8]; 10] = [b"a", b"b", b"c", b" ", b"\xc3", b"bc", b" a", b"ab", b"abc", b"cab"];

/// Unknown, controls, a few bytes, pieces.
const LLAMA: [&[u8]; 11] =
    [" \u{2047} ".as_bytes(), b"", b"", b"\x00", b"\x01", b"a", b"b", b" a", b"ab", b"bb", b"abbb"];

#[test]
fn a_byte_level_vocabulary_takes_the_longest_token_first_until_it_is_converted() {
    let mut metadata = bare("gpt2", &GPT);
    let legacy = load(&metadata);
    assert_eq!(encode(&legacy, "bcab a"), [5, 7, 6]);
    assert_eq!(encode(&legacy, "é?ab"), [4, 7], "the second byte of é and the mark are unknown");
    assert_eq!(legacy.decode(&[8, 6], true), "abc a");
    assert!(legacy.kind().contains("longest"), "{}", legacy.kind());
    assert!(legacy.notes()[0].what.contains("no merges"), "{:?}", legacy.notes());

    let notes = legacy.to_metadata(12, &mut metadata).unwrap();
    assert!(notes[0].what.contains("recovered"), "{notes:?}");
    let carried = load(&metadata);
    assert_eq!(carried.kind(), "BPE (byte-level), pre gpt-2");
    assert_eq!(encode(&carried, "ab"), [7]);
    assert_eq!(encode(&carried, "cab"), [9], "c and ab");
    assert_eq!(encode(&carried, "bcab"), [5, 7]);
    let json = legacy.to_files().unwrap();
    assert_eq!(json[0].0, "tokenizer.json");
}

#[test]
fn merges_that_cannot_be_told_are_said_to_be_missing() {
    let mut metadata = bare("gpt2", &[b"a", b"b", b"abab", b"ab"]);
    let legacy = load(&metadata);
    assert_eq!(encode(&legacy, "ababab"), [2, 3]);
    let error = legacy.to_files().unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("tokenizer files of the original model"), "{error}");
    let notes = legacy.to_metadata(4, &mut metadata).unwrap();
    assert!(notes[0].what.contains("only some"), "{notes:?}");
}

#[test]
fn mangled_texts_are_noted() {
    let texts: [&[u8]; 4] = [b"a b", "\u{fffd}".as_bytes(), "\u{fffd}".as_bytes(), b"c"];
    let legacy = load(&bare("gpt2", &texts));
    let lost = |tokenizer: &Tokenizer| {
        tokenizer.notes().iter().any(|note| note.what.contains("lost the tokens"))
    };
    assert!(lost(&legacy), "{:?}", legacy.notes());
    assert!(!lost(&load(&bare("gpt2", &GPT))));
}

#[test]
fn files_with_kinds_but_no_merges_are_no_bare_vocabularies() {
    let mut metadata = bare("gpt2", &GPT);
    metadata.set("tokenizer.ggml.token_type", vec![1i32; GPT.len()]);
    assert_eq!(load(&metadata).kind(), "BPE (byte-level), pre gpt-2");
}

#[test]
fn a_vocabulary_without_scores_takes_the_highest_sum_of_squares() {
    let mut metadata = bare("llama", &LLAMA);
    let legacy = load(&metadata);
    // By merging, ab is made first, and abbb of it and bb.
    assert_eq!(encode(&legacy, "abb"), [7, 9], "4 + 4 beats 1 + 4 + 1");
    assert_eq!(encode(&legacy, "babbb"), [0, 6, 10], "the blank in front is unknown");
    assert_eq!(legacy.decode(&[7, 9], true), "abb");
    assert!(legacy.notes()[0].what.contains("no scores"), "{:?}", legacy.notes());

    let notes = legacy.to_metadata(11, &mut metadata).unwrap();
    assert!(notes[0].what.contains("order of its tokens"), "{notes:?}");
    let carried = load(&metadata);
    assert_eq!(carried.kind(), "SentencePiece BPE");
    assert!(carried.notes().is_empty());
}

#[test]
fn a_vocabulary_with_scores_is_merged_as_sentencepiece_does() {
    let mut metadata = bare("llama", &LLAMA);
    let scores: Vec<f32> = (0..LLAMA.len()).map(|id| -(id as f32)).collect();
    metadata.set("tokenizer.ggml.scores", scores);
    assert_eq!(load(&metadata).kind(), "SentencePiece BPE");
}

#[test]
fn tokenizers_of_other_models_are_told_by_the_first_other_token() {
    let legacy = load(&bare("gpt2", &GPT));
    let mut texts = GPT.to_vec();
    texts.push(b"more");
    let more = load(&bare("gpt2", &texts));
    more.check_matches(&legacy).unwrap();
    assert!(matches!(legacy.check_matches(&more), Err(Error::Differs { id: 10, .. })));
    texts[7] = b"ba";
    let other = load(&bare("gpt2", &texts));
    let error = other.check_matches(&legacy).unwrap_err();
    assert!(error.to_string().contains("token 7 is \"ba\" but \"ab\""), "{error}");
    // Padding, repetitions and what a converter mangled say nothing.
    texts[7] = "\u{fffd}".as_bytes();
    texts[8] = b"a";
    texts[9] = b"<|extratoken_1|>";
    texts.truncate(10);
    legacy.check_matches(&load(&bare("gpt2", &texts))).unwrap();
}

/// What bounds the work for a byte of text, whatever the vocabulary.
#[test]
fn tokens_longer_than_any_that_is_looked_for_are_not_found() {
    let run = "a".repeat(600);
    let almost = format!("{}b", "a".repeat(500));
    let long = "a".repeat(20_000);
    for (model, specials) in [("gpt2", [].as_slice()), ("llama", &LLAMA[..3])] {
        let texts = [specials, &[b"a", run.as_bytes(), almost.as_bytes(), b"\xff"]].concat();
        let letter = specials.len() as u32;
        let ids = encode(&load(&bare(model, &texts)), &long);
        assert_eq!(ids.iter().filter(|&&id| id == letter).count(), long.len(), "{model}");
        assert!(ids.iter().all(|&id| id <= letter), "{model}: {:?}", ids.iter().max());
    }
}

proptest! {
    #[test]
    fn squares_find_the_highest_sum(text in "[ab]{1,10}") {
        let legacy = load(&bare("llama", &LLAMA));
        let ids = encode(&legacy, &text);
        let sum = |len: usize| len * len;
        let found: usize =
            ids.iter().filter(|&&id| id > 0).map(|&id| sum(legacy.token_bytes(id).len())).sum();
        // All divisions of the text with a blank in front, whose blank alone counts nothing.
        fn best(text: &[u8]) -> usize {
            if text.is_empty() {
                return 0;
            }
            let pieces = LLAMA.iter().filter(|piece| !piece.is_empty() && text.starts_with(piece));
            let skipped = if text[0] == b' ' { best(&text[1..]) } else { 0 };
            pieces.map(|piece| piece.len().pow(2) + best(&text[piece.len()..])).fold(skipped, usize::max)
        }
        prop_assert_eq!(found, best(format!(" {text}").as_bytes()));
    }

    #[test]
    fn longest_tokens_spell_the_text(text in "[abc ]{0,40}") {
        let legacy = load(&bare("gpt2", &GPT));
        prop_assert_eq!(legacy.decode(&encode(&legacy, &text), true), text);
    }
}
