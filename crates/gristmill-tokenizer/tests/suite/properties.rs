//! What holds for every text and every run of tokens.

use std::sync::{Arc, LazyLock};

use gristmill_tensor::{Limits, Metadata};
use gristmill_tokenizer::{EncodeOptions, TextStream, TokenId, Tokenizer};
use proptest::prelude::*;

/// All 256 bytes, two-letter merges, and an end.
static BYTE_LEVEL: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let alphabet: Vec<String> = ('!'..='~')
        .chain('\u{a1}'..='\u{ac}')
        .chain('\u{ae}'..='\u{ff}')
        .chain('\u{100}'..='\u{143}')
        .map(String::from)
        .collect();
    assert_eq!(alphabet.len(), 256);
    let merges = ["t h", "th e", "Ġ the", "Ã ©", "ð Ł", "Ġ Ġ", "Ċ Ċ", "' s", "1 2"];
    let mut tokens = alphabet;
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    tokens.push("<|endoftext|>".to_owned());
    let mut types = vec![1i32; tokens.len()];
    *types.last_mut().unwrap() = 3;
    let mut metadata = Metadata::new("test");
    metadata.set("tokenizer.ggml.model", "gpt2");
    metadata.set("tokenizer.ggml.pre", "llama-bpe");
    metadata.set("tokenizer.ggml.tokens", tokens);
    metadata.set("tokenizer.ggml.token_type", types);
    metadata.set("tokenizer.ggml.merges", merges.map(String::from).to_vec());
    Arc::new(Tokenizer::from_metadata(&metadata).unwrap())
});

/// Controls, bytes and a few pieces.
static SENTENCEPIECE: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let pieces = ["▁", "a", "b", "é", "▁a", "ab", "▁ab", "aa", "▁▁", "aab", "ba", "bab"];
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(pieces.map(String::from));
    let mut types = vec![1i32; tokens.len()];
    types[..3].copy_from_slice(&[2, 3, 3]);
    types[3..259].fill(6);
    let mut metadata = Metadata::new("test");
    metadata.set("tokenizer.ggml.model", "llama");
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32 / 3.0).floor()).collect();
    metadata.set("tokenizer.ggml.tokens", tokens);
    metadata.set("tokenizer.ggml.token_type", types);
    metadata.set("tokenizer.ggml.scores", scores);
    Arc::new(Tokenizer::from_metadata(&metadata).unwrap())
});

/// A tokenizer after a way through the files of a folder.
fn rewritten(tokenizer: &Tokenizer) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in tokenizer.to_files().unwrap() {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    Tokenizer::from_folder(folder.path(), &Limits::default()).unwrap()
}

static WRITTEN: LazyLock<[(Arc<Tokenizer>, Tokenizer); 2]> = LazyLock::new(|| {
    [&*BYTE_LEVEL, &*SENTENCEPIECE].map(|tokenizer| (tokenizer.clone(), rewritten(tokenizer)))
});

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<TokenId> {
    tokenizer.encode(text, EncodeOptions::default()).unwrap()
}

/// SentencePiece's rule, word for word: of all adjacent pairs that make a piece, the one with the best score, the
/// leftmost of equals.
fn merge_naively(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let text = format!(" {text}").replace(' ', "▁");
    let mut parts: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for at in 1..parts.len() {
            let Some(id) = tokenizer.token_id(&format!("{}{}", parts[at - 1], parts[at])) else {
                continue;
            };
            if id < 259 {
                continue;
            }
            let score = -(id as f32 / 3.0).floor();
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, at));
            }
        }
        let Some((_, at)) = best else { return parts };
        let right = parts.remove(at);
        parts[at - 1].push_str(&right);
    }
}

proptest! {
    #[test]
    fn byte_level_text_comes_back(text in any::<String>()) {
        let ids = encode(&BYTE_LEVEL, &text);
        prop_assert_eq!(BYTE_LEVEL.decode(&ids, true), text);
    }

    #[test]
    fn everyday_text_comes_back(text in "[the é's12 \n\t🦙]{0,40}") {
        let ids = encode(&BYTE_LEVEL, &text);
        prop_assert_eq!(BYTE_LEVEL.decode(&ids, true), text);
    }

    #[test]
    fn sentencepiece_text_comes_back(text in "[^▁]*") {
        let ids = encode(&SENTENCEPIECE, &text);
        prop_assert_eq!(SENTENCEPIECE.decode(&ids, true), text);
    }

    #[test]
    fn sentencepiece_merges_as_its_rule_says(text in "[ab ]{1,24}") {
        let texts: Vec<String> = encode(&SENTENCEPIECE, &text)
            .into_iter()
            .map(|id| SENTENCEPIECE.token_text(id).unwrap())
            .collect();
        prop_assert_eq!(texts, merge_naively(&SENTENCEPIECE, &text));
    }

    #[test]
    fn written_files_give_the_same_ids(text in any::<String>(), everyday in "[thea b's12 \n]{0,40}") {
        for (tokenizer, written) in &*WRITTEN {
            for text in [&text, &everyday] {
                let ids = encode(tokenizer, text);
                prop_assert_eq!(&encode(written, text), &ids);
                prop_assert_eq!(written.decode(&ids, true), tokenizer.decode(&ids, true));
            }
        }
    }

    #[test]
    fn a_stream_gives_what_decoding_at_once_gives(
        ids in prop::collection::vec(0u32..275, 0..40),
        skip_special in any::<bool>(),
    ) {
        for tokenizer in [&*BYTE_LEVEL, &*SENTENCEPIECE] {
            let mut stream = TextStream::new(tokenizer.clone(), skip_special);
            let mut text = String::new();
            let mut bytes = Vec::new();
            for &id in &ids {
                let piece = stream.push(id);
                text.push_str(&piece);
                if !(skip_special && tokenizer.is_special(id)) {
                    bytes.extend(tokenizer.token_bytes(id));
                }
            }
            text.push_str(&stream.flush());
            prop_assert_eq!(&text, &tokenizer.decode(&ids, skip_special));
            let whole = String::from_utf8_lossy(&bytes);
            let stripped = whole.strip_prefix(' ').unwrap_or(&whole);
            prop_assert!(text == whole || text == stripped);
        }
    }
}

#[test]
fn half_a_character_waits_for_the_other_half() {
    let llama: Vec<TokenId> = "🦙"
        .bytes()
        .map(|byte| SENTENCEPIECE.token_id(&format!("<0x{byte:02X}>")).unwrap())
        .collect();
    let mut stream = TextStream::new(&**SENTENCEPIECE, false);
    let pieces: Vec<String> = llama.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pieces, ["", "", "", "🦙"]);
    stream.push(llama[0]);
    stream.push(llama[1]);
    assert_eq!(stream.push(SENTENCEPIECE.token_id("a").unwrap()), "\u{fffd}a");
    stream.push(llama[0]);
    assert_eq!(stream.flush(), "\u{fffd}");
    assert_eq!(stream.flush(), "");
}

#[test]
fn the_first_blank_is_stripped_once_unless_text_continues() {
    let ids = encode(&SENTENCEPIECE, "a ab");
    let mut stream = TextStream::new(&**SENTENCEPIECE, true);
    assert_eq!(stream.push(1), "", "BOS is skipped and does not count as the first piece");
    let text: String = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(text, "a ab");
    let mut stream = TextStream::continuing(&**SENTENCEPIECE, true);
    let text: String = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(text, " a ab");
}
