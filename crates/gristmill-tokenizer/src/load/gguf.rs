//! GGUF's `tokenizer.*` keys, as llama.cpp reads them.
//!
//! A complete tokenizer.json under `tokenizer.huggingface.json` is preferred when it has the same tokens. Otherwise
//! the model decides: `gpt2` merges bytes within words that `tokenizer.ggml.pre` cuts, `llama` merges characters by
//! score, `t5` is unigram. Vocabularies of legacy ggml files, which have only texts, are completed by [`legacy`].

use std::sync::Arc;

use gristmill_tensor::{MetaArray, MetaValue, Metadata, keys};

use super::json::Json;
use crate::known;
use crate::legacy;
use crate::merges::{recover, resolve, split_pair};
use crate::pre::Family;
use crate::save;
use crate::scheme::{
    Blanks, Merges, Scheme, byte_level_encoder, longest_encoder, sentencepiece_encoder,
};
use crate::special::{ROLES, Role, Special};
use crate::tokenizer::Parts;
use crate::vocab::{Kind, MAX_MERGES, MAX_TOKENS, Token, Vocab};
use crate::{Error, Note, Result, TokenId, Tokenizer};

/// The tokenizer that metadata describe.
pub(crate) fn from_metadata(metadata: &Metadata) -> Result<Tokenizer> {
    let file = metadata.origin();
    let mut notes = Vec::new();
    let found = tokens(metadata, &mut notes)?;
    if let Some(text) = metadata.get_str(keys::TOKENIZER_HF_JSON)? {
        match huggingface(metadata, text, found.as_ref().map(|(vocab, _)| vocab)) {
            Ok(tokenizer) => return Ok(tokenizer),
            Err(error) if found.is_none() => return Err(error),
            Err(error) => {
                notes.push(Note::new(format!("ignored {}: {error}", keys::TOKENIZER_HF_JSON)));
            }
        }
    }
    let Some((mut vocab, model)) = found else {
        return Err(Error::Missing {
            place: file.to_owned(),
            looked_for: format!("{} and {}", keys::TOKENIZER_TOKENS, keys::TOKENIZER_HF_JSON),
            cure: "convert the model again from a folder that has its tokenizer".to_owned(),
        });
    };
    let mut special = Special::default();
    assign(metadata, &vocab, &mut special, &mut notes);
    let flag = |key: &str| metadata.get_bool(key);
    let (add_bos, add_eos) = (flag(keys::TOKENIZER_ADD_BOS)?, flag(keys::TOKENIZER_ADD_EOS)?);
    let (scheme, bos_by_default, eos_by_default) = match model {
        Model::Gpt2 => {
            let scheme = byte_level_scheme(metadata, &vocab, &mut notes)?;
            let add_bos = matches!(&scheme, Scheme::ByteLevel { family, .. } if family.add_bos);
            (scheme, add_bos, false)
        }
        Model::Llama => {
            let defaults = [(Role::Bos, 1), (Role::Eos, 2), (Role::Unk, 0)];
            for (role, id) in defaults {
                let kind = vocab.get(id).map(|token| token.kind);
                if matches!(kind, Some(Kind::Control | Kind::Unknown)) {
                    special.propose(role, id);
                }
            }
            let blanks = blanks(metadata)?;
            let scheme = if metadata.contains(keys::TOKENIZER_SCORES) {
                Scheme::SentencePiece(blanks)
            } else {
                notes.push(Note::new(
                    "the vocabulary has no scores; text is divided as the programs of its day did, by the longest \
                     pieces; give the model's own tokenizer files to be exact",
                ));
                Scheme::Squares(blanks)
            };
            (scheme, true, false)
        }
        Model::T5 => {
            let unknown = vocab.iter().find(|(_, token)| token.kind == Kind::Unknown);
            if let Some((id, _)) = unknown {
                special.propose(Role::Unk, id);
            }
            (Scheme::Unigram(blanks(metadata)?), false, true)
        }
    };
    special.complete(&mut vocab);
    special.surround(add_bos.unwrap_or(bos_by_default), add_eos.unwrap_or(eos_by_default));

    let vocab = Arc::new(vocab);
    let encoder = match &scheme {
        Scheme::ByteLevel { family, merges, .. } => {
            byte_level_encoder(file, &vocab, family, merges)?
        }
        Scheme::Longest => longest_encoder(file, &vocab)?,
        _ => sentencepiece_encoder(file, &vocab, &special, &scheme)?,
    };
    Ok(Tokenizer::assemble(Parts {
        origin: file.to_owned(),
        vocab,
        scheme,
        special,
        encoder,
        templates: templates(metadata)?,
        notes,
        kept: None,
    }))
}

/// The models of `tokenizer.ggml.model` that are supported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Model {
    Gpt2,
    Llama,
    T5,
}

/// The tokenizer.json inside the file, if it has the same tokens as the other keys.
fn huggingface(metadata: &Metadata, text: &str, vocab: Option<&Vocab>) -> Result<Tokenizer> {
    let file = metadata.origin();
    let malformed = |what: String| Error::malformed(file, keys::TOKENIZER_HF_JSON, what);
    let parsed = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let mut json = Json::new(file, parsed)?;
    if let Some(vocab) = vocab {
        let differs = |&(id, token): &(TokenId, &Token)| {
            token.kind != Kind::Unused && vocab.text(id) != Some(&token.text)
        };
        if let Some((id, token)) = json.vocab.iter().find(differs) {
            let ours = vocab.text(id).unwrap_or("nothing");
            return Err(malformed(format!(
                "token {id} is {:?} there but {ours:?} in {}",
                token.text,
                keys::TOKENIZER_TOKENS
            )));
        }
    }
    json.score(None);
    let mut special = Special::default();
    assign(metadata, &json.vocab, &mut special, &mut Vec::new());
    json.assign(&mut special);
    let add_bos = metadata.get_bool(keys::TOKENIZER_ADD_BOS)?.unwrap_or(false);
    let add_eos = metadata.get_bool(keys::TOKENIZER_ADD_EOS)?.unwrap_or(false);
    json.surround(&mut special, add_bos, add_eos);
    json.finish(file.to_owned(), text.to_owned(), special, templates(metadata)?)
}

/// The vocabulary, and the model it is for; `None` when there is none.
fn tokens(metadata: &Metadata, notes: &mut Vec<Note>) -> Result<Option<(Vocab, Model)>> {
    let file = metadata.origin();
    let texts: Vec<&[u8]> = match metadata.get(keys::TOKENIZER_TOKENS) {
        None => return Ok(None),
        Some(MetaValue::Array(MetaArray::String(texts))) => {
            texts.iter().map(String::as_bytes).collect()
        }
        Some(MetaValue::Array(MetaArray::Bytes(texts))) => {
            texts.iter().map(Vec::as_slice).collect()
        }
        Some(other) => {
            let what = format!("should be a list of strings but is {}", other.type_name());
            return Err(Error::malformed(file, keys::TOKENIZER_TOKENS, what));
        }
    };
    let n_tokens = texts.len();
    if n_tokens == 0 || n_tokens > MAX_TOKENS {
        return Err(Error::malformed(
            file,
            keys::TOKENIZER_TOKENS,
            format!("has {n_tokens} tokens"),
        ));
    }
    let model = model(metadata)?;
    let scores = metadata.get_f32s(keys::TOKENIZER_SCORES)?;
    let types = metadata.get_i32s(keys::TOKENIZER_TOKEN_TYPE)?;
    check_length(file, keys::TOKENIZER_SCORES, scores.map(<[f32]>::len), n_tokens)?;
    check_length(file, keys::TOKENIZER_TOKEN_TYPE, types.as_ref().map(Vec::len), n_tokens)?;
    if let Some(id) = scores.unwrap_or_default().iter().position(|score| !score.is_finite()) {
        return Err(Error::malformed(
            file,
            keys::TOKENIZER_SCORES,
            format!("score {id} is not finite"),
        ));
    }
    let raw = model == Model::Gpt2 && types.is_none() && legacy::is_raw(&texts);
    let mut tokens = Vec::with_capacity(n_tokens);
    for (id, text) in (0..).zip(texts) {
        let (text, kind) = match (&types, model) {
            (Some(types), _) => {
                (String::from_utf8_lossy(text).into_owned(), Kind::from_number(types[id as usize]))
            }
            (None, Model::Gpt2) => legacy::byte_level_piece(text, raw),
            (None, _) => legacy::sentencepiece_piece(id, text),
        };
        let score = match scores {
            Some(scores) => scores[id as usize],
            None => -(id as f32),
        };
        let text = if text.is_empty() { save::empty_text(id) } else { text };
        tokens.push(Token { text: text.into(), score, kind });
    }
    let (vocab, repeated) = Vocab::from_tokens(tokens);
    if let Some(&id) = repeated.first() {
        notes.push(Note::new(format!(
            "{} tokens repeat the text of an earlier one (first token {id}, {:?}); they are decoded but never encoded",
            repeated.len(),
            vocab.text(id).unwrap_or_default()
        )));
    }
    Ok(Some((vocab, model)))
}

fn check_length(file: &str, key: &str, found: Option<usize>, n_tokens: usize) -> Result<()> {
    match found {
        Some(found) if found != n_tokens => {
            let what = format!("has {found} entries for {n_tokens} tokens");
            Err(Error::malformed(file, key, what))
        }
        _ => Ok(()),
    }
}

fn model(metadata: &Metadata) -> Result<Model> {
    match metadata.get_str(keys::TOKENIZER_MODEL)? {
        Some("gpt2") => Ok(Model::Gpt2),
        Some("llama") => Ok(Model::Llama),
        Some("t5") => Ok(Model::T5),
        None if metadata.contains(keys::TOKENIZER_MERGES) => Ok(Model::Gpt2),
        None if metadata.contains(keys::TOKENIZER_SCORES) => Ok(Model::Llama),
        None => Ok(Model::Gpt2),
        Some(other) => {
            let what =
                format!("{} is {other:?}; gpt2, llama and t5 are supported", keys::TOKENIZER_MODEL);
            Err(Error::unsupported(metadata.origin(), what))
        }
    }
}

/// How a byte-level vocabulary is applied. A legacy file's has neither merges nor kinds: unless its merges are known, it
/// is applied as the programs of its day did.
fn byte_level_scheme(metadata: &Metadata, vocab: &Vocab, notes: &mut Vec<Note>) -> Result<Scheme> {
    let has = |key| metadata.contains(key);
    if has(keys::TOKENIZER_MERGES) || has(keys::TOKENIZER_TOKEN_TYPE) {
        let (family, name) = family(metadata, notes)?;
        let merges = merges(metadata, vocab, notes)?;
        return Ok(Scheme::ByteLevel { family, name, merges });
    }
    if let Some(known) = known::find(vocab) {
        let (family, name) = Family::by_name(known.pre).expect("the table names known families");
        notes.push(Note::new(format!(
            "the vocabulary is that of {}, whose merges follow from the order of its tokens",
            known.name
        )));
        return Ok(Scheme::ByteLevel { family, name, merges: recover(vocab).merges });
    }
    let mangled = vocab.iter().any(|(id, token)| {
        vocab.id(&token.text) != Some(id) && token.text.contains(legacy::MANGLED)
    });
    notes.push(Note::new(if mangled {
        "the vocabulary has no merges, and the program that wrote it lost the tokens that are parts of characters; text \
         is divided by the longest token first, without those; give the model's own tokenizer files to be exact"
    } else {
        "the vocabulary has no merges; text is divided as the programs of its day did, by the longest token first; give \
         the model's own tokenizer files to be exact, or convert the file, which recovers merges where that is possible"
    }));
    Ok(Scheme::Longest)
}

/// How a byte-level vocabulary cuts words, and the name of that.
fn family(metadata: &Metadata, notes: &mut Vec<Note>) -> Result<(&'static Family, &'static str)> {
    let name = match metadata.get_str(keys::TOKENIZER_PRE)? {
        Some(name) => name,
        // Files of the time before merges knew only GPT-2's cuts.
        None if !metadata.contains(keys::TOKENIZER_MERGES) => save::LEGACY_PRE,
        None => {
            notes.push(Note::new(format!(
                "the file does not say how words are cut ({}); took \"default\", which is only roughly right for most \
                 models; convert the model again to be exact",
                keys::TOKENIZER_PRE
            )));
            "default"
        }
    };
    Family::by_name(name).ok_or_else(|| {
        let what = format!("{} is {name:?}; known are {}", keys::TOKENIZER_PRE, Family::names());
        Error::unsupported(metadata.origin(), what)
    })
}

/// The merges, recovered where the file has none.
fn merges(metadata: &Metadata, vocab: &Vocab, notes: &mut Vec<Note>) -> Result<Merges> {
    let file = metadata.origin();
    let Some(lines) = metadata.get_strings(keys::TOKENIZER_MERGES)? else {
        notes.push(Note::new(
            "the file has no merges; they were recovered from the order of the tokens",
        ));
        return Ok(recover(vocab).merges);
    };
    if lines.len() > MAX_MERGES {
        let what = format!("has {} merges, more than any model", lines.len());
        return Err(Error::malformed(file, keys::TOKENIZER_MERGES, what));
    }
    let resolve = |(index, line): (usize, &String)| {
        let place = || format!("{}[{index}]", keys::TOKENIZER_MERGES);
        let (left, right) = split_pair(line).ok_or_else(|| {
            Error::malformed(file, place(), format!("{line:?} has no blank between two parts"))
        })?;
        resolve(file, vocab, place, left, right)
    };
    lines.iter().enumerate().map(resolve).collect()
}

fn blanks(metadata: &Metadata) -> Result<Blanks> {
    let add_prefix = metadata.get_bool(keys::TOKENIZER_ADD_SPACE_PREFIX)?.unwrap_or(true);
    let charsmap = match metadata.get(save::CHARSMAP) {
        Some(MetaValue::Array(MetaArray::U8(bytes))) => bytes.clone(),
        Some(MetaValue::Array(MetaArray::I8(bytes))) => {
            bytes.iter().map(|byte| byte.cast_unsigned()).collect()
        }
        _ => Vec::new(),
    };
    let remove_extra = metadata.get_bool(save::REMOVE_EXTRA)?.unwrap_or(false);
    Ok(Blanks { add_prefix, strip_prefix: add_prefix, remove_extra, charsmap })
}

/// Roles by their keys. Ids outside the vocabulary are ignored with a note; negative ones mean there is no such token.
fn assign(metadata: &Metadata, vocab: &Vocab, special: &mut Special, notes: &mut Vec<Note>) {
    for names in &ROLES {
        for key in names.keys {
            let Some(id) = metadata.get(key).and_then(MetaValue::as_u64) else { continue };
            if id < vocab.len() as u64 {
                special.propose(names.role, id as TokenId);
            } else {
                notes.push(Note::new(format!("{key} is {id}, which is no token; ignored")));
            }
        }
    }
}

fn templates(metadata: &Metadata) -> Result<Vec<(String, String)>> {
    let mut templates = Vec::new();
    if let Some(template) = metadata.get_str(keys::CHAT_TEMPLATE)? {
        templates.push(("default".to_owned(), template.to_owned()));
    }
    for (key, value) in metadata.iter() {
        let name = key.strip_prefix(keys::CHAT_TEMPLATE).and_then(|rest| rest.strip_prefix('.'));
        if let (Some(name), Some(template)) = (name, value.as_str()) {
            templates.push((name.to_owned(), template.to_owned()));
        }
    }
    Ok(templates)
}
