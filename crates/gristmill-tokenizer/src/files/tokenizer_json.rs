//! tokenizer.json for a vocabulary that came without one.

use serde_json::{Map, Value, json};
use tokenizers::PreTokenizerWrapper;

use crate::merges::{from_scores, recover};
use crate::normalize::Step;
use crate::pre::Family;
use crate::save::{self, LEGACY_PRE};
use crate::scheme::{BLANK, Blanks, Merges, Scheme};
use crate::special::Role;
use crate::vocab::{Kind, Vocab};
use crate::{Error, Result, TokenId, Tokenizer};

/// The parts of the file that depend on the scheme.
struct Pipeline {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
}

/// The whole file.
pub(super) fn of(tokenizer: &Tokenizer) -> Result<Value> {
    let Pipeline { normalizer, pre_tokenizer, decoder, model } = match &tokenizer.scheme {
        Scheme::ByteLevel { family, merges, .. } => byte_level(tokenizer, family, merges)?,
        Scheme::Longest => {
            let recovered = recover(&tokenizer.vocab);
            if !recovered.complete {
                let what = "its merges cannot be told from its tokens; take the tokenizer files of the original model";
                return Err(Error::unsupported(&*tokenizer.origin, what));
            }
            let (family, _) = Family::by_name(LEGACY_PRE).expect("the table has it");
            byte_level(tokenizer, family, &recovered.merges)?
        }
        Scheme::SentencePiece(blanks) | Scheme::Squares(blanks) => Pipeline {
            normalizer: normalizer(tokenizer, blanks)?,
            pre_tokenizer: Value::Null,
            decoder: decoder(blanks),
            model: sentencepiece_model(tokenizer),
        },
        Scheme::Unigram(blanks) => Pipeline {
            normalizer: normalizer(tokenizer, blanks)?,
            pre_tokenizer: Value::Null,
            decoder: decoder(blanks),
            model: unigram_model(tokenizer),
        },
    };
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(&tokenizer.vocab),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor(tokenizer),
        "decoder": decoder,
        "model": model,
    }))
}

fn byte_level(tokenizer: &Tokenizer, family: &Family, merges: &Merges) -> Result<Pipeline> {
    let pre_tokenizer: PreTokenizerWrapper = family.pre_tokenizer().map_err(|error| {
        Error::malformed(&*tokenizer.origin, "pre-tokenizer", error.to_string())
    })?;
    Ok(Pipeline {
        normalizer: if family.nfc { json!({"type": "NFC"}) } else { Value::Null },
        pre_tokenizer: value(tokenizer, &pre_tokenizer)?,
        decoder: json!({
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        }),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": family.ignore_merges,
            "vocab": vocab(&tokenizer.vocab),
            "merges": pairs(&tokenizer.vocab, merges),
        }),
    })
}

fn sentencepiece_model(tokenizer: &Tokenizer) -> Value {
    let texts = &tokenizer.vocab;
    json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": tokenizer.special.get(Role::Unk).and_then(|id| texts.text(id)),
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": true,
        "byte_fallback": has_bytes(texts),
        "ignore_merges": false,
        "vocab": vocab(texts),
        "merges": pairs(texts, &from_scores(texts)),
    })
}

fn unigram_model(tokenizer: &Tokenizer) -> Value {
    let tokens = save::unique_tokens(&tokenizer.vocab, tokenizer.vocab.len());
    let pieces: Vec<Value> =
        tokens.iter().map(|token| json!([&*token.text, token.score])).collect();
    json!({
        "type": "Unigram",
        "unk_id": tokenizer.special.get(Role::Unk),
        "vocab": pieces,
        "byte_fallback": has_bytes(&tokenizer.vocab),
    })
}

fn has_bytes(vocab: &Vocab) -> bool {
    vocab.iter().any(|(_, token)| token.kind == Kind::Byte)
}

/// Ids by text. Special tokens are among them, since only then they are sure to keep their ids.
fn vocab(vocab: &Vocab) -> Map<String, Value> {
    vocab
        .found()
        .filter(|(_, token)| token.kind != Kind::Unused)
        .map(|(id, token)| (token.text.to_string(), id.into()))
        .collect()
}

/// Merges as pairs where a part has a blank, else as the older lines that every reader knows.
fn pairs(vocab: &Vocab, merges: &Merges) -> Vec<Value> {
    let text = |id: TokenId| vocab.text(id).unwrap_or_default();
    let texts = || merges.iter().map(|&(left, right)| (text(left), text(right)));
    if texts().any(|(left, right)| left.contains(' ') || right.contains(' ')) {
        return texts().map(|(left, right)| json!([left, right])).collect();
    }
    texts().map(|(left, right)| format!("{left} {right}").into()).collect()
}

fn added_tokens(vocab: &Vocab) -> Vec<Value> {
    let role = |kind| match kind {
        Kind::Control | Kind::Unknown => Some(true),
        Kind::UserDefined => Some(false),
        _ => None,
    };
    vocab
        .found()
        .filter_map(|(id, token)| {
            let special = role(token.kind)?;
            Some(json!({
                "id": id, "content": &*token.text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            }))
        })
        .collect()
}

/// What stands around a text: a template with BOS and EOS.
fn post_processor(tokenizer: &Tokenizer) -> Value {
    let (prefix, suffix) = (&tokenizer.special.prefix, &tokenizer.special.suffix);
    if prefix.is_empty() && suffix.is_empty() {
        return Value::Null;
    }
    let text = |id: TokenId| tokenizer.vocab.text(id).unwrap_or_default();
    let around = |sequence: &str, type_id: u32| {
        let token = |&id: &TokenId| json!({"SpecialToken": {"id": text(id), "type_id": type_id}});
        let sequence = json!({"Sequence": {"id": sequence, "type_id": type_id}});
        let parts = prefix.iter().map(token).chain([sequence]);
        parts.chain(suffix.iter().map(token)).collect::<Vec<Value>>()
    };
    let tokens: Map<String, Value> = prefix
        .iter()
        .chain(suffix)
        .map(|&id| {
            let token = json!({"id": text(id), "ids": [id], "tokens": [text(id)]});
            (text(id).to_owned(), token)
        })
        .collect();
    let single = around("A", 0);
    let pair: Vec<Value> = single.iter().cloned().chain(around("B", 1)).collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
}

fn normalizer(tokenizer: &Tokenizer, blanks: &Blanks) -> Result<Value> {
    let steps = blanks.normalizers(&tokenizer.origin)?;
    let parts: Result<Vec<Value>> = steps
        .iter()
        .map(|step| match step {
            Step::Replace { pattern, content } => {
                Ok(json!({"type": "Replace", "pattern": pattern.to_json(), "content": content}))
            }
            Step::HuggingFace(part) => value(tokenizer, part),
        })
        .collect();
    Ok(json!({"type": "Sequence", "normalizers": parts?}))
}

fn decoder(blanks: &Blanks) -> Value {
    let mut parts = vec![
        json!({"type": "Replace", "pattern": {"String": BLANK}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if blanks.strip_prefix {
        parts.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": parts})
}

fn value(tokenizer: &Tokenizer, part: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(part)
        .map_err(|error| Error::unsupported(&*tokenizer.origin, error.to_string()))
}
