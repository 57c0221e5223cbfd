//! A tokenizer as GGUF metadata.

use std::collections::HashSet;

use gristmill_tensor::{Metadata, keys};

use crate::merges::{Recovered, recover};
use crate::scheme::{Blanks, Merges, Scheme};
use crate::special::{ROLES, Role};
use crate::tokenizer::Tokenizer;
use crate::vocab::{Kind, Token, Vocab, padding_text};
use crate::{Error, Note, Result, TokenId};

/// SentencePiece's compiled table of character replacements.
pub(crate) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
/// Whether runs of blanks become one.
pub(crate) const REMOVE_EXTRA: &str = "tokenizer.ggml.remove_extra_whitespaces";
/// The names of the chat templates beside the default one.
const CHAT_TEMPLATES: &str = "tokenizer.chat_templates";
/// How words are cut for vocabularies of legacy files, which do not say it: as their programs knew.
pub(crate) const LEGACY_PRE: &str = "gpt-2";
/// The score of a token that is never merged, as llama.cpp's converter writes it.
const PADDING_SCORE: f32 = -10000.0;

/// Replaces the `tokenizer.*` keys.
pub(crate) fn to_metadata(
    tokenizer: &Tokenizer,
    n_vocab: usize,
    metadata: &mut Metadata,
) -> Result<Vec<Note>> {
    let n_tokens = tokenizer.vocab.len();
    if n_tokens > n_vocab {
        return Err(Error::TooManyTokens { file: tokenizer.origin.clone(), n_tokens, n_vocab });
    }
    let old: Vec<String> = metadata
        .iter()
        .map(|(key, _)| key)
        .filter(|key| key.starts_with("tokenizer."))
        .map(str::to_owned)
        .collect();
    for key in old {
        metadata.remove(&key);
    }

    let mut notes = Vec::new();
    match &tokenizer.scheme {
        Scheme::ByteLevel { name, merges, .. } => {
            metadata.set(keys::TOKENIZER_MODEL, "gpt2");
            metadata.set(keys::TOKENIZER_PRE, *name);
            set_tokens(&tokenizer.vocab, n_vocab, false, metadata);
            metadata.set(keys::TOKENIZER_MERGES, merge_lines(tokenizer, merges)?);
        }
        Scheme::Longest => {
            let Recovered { merges, complete } = recover(&tokenizer.vocab);
            metadata.set(keys::TOKENIZER_MODEL, "gpt2");
            metadata.set(keys::TOKENIZER_PRE, LEGACY_PRE);
            set_tokens(&tokenizer.vocab, n_vocab, false, metadata);
            metadata.set(keys::TOKENIZER_MERGES, merge_lines(tokenizer, &merges)?);
            notes.push(Note::new(if complete {
                "the merges that the legacy vocabulary lacks were recovered from the order of its tokens; words are cut \
                 as for GPT-2"
            } else {
                "only some of the merges that the legacy vocabulary lacks could be recovered from the order of its \
                 tokens; text will be divided only roughly as the model expects; convert with the model's own \
                 tokenizer files to be exact"
            }));
        }
        Scheme::SentencePiece(blanks) | Scheme::Squares(blanks) => {
            metadata.set(keys::TOKENIZER_MODEL, "llama");
            metadata.set(keys::TOKENIZER_PRE, "default");
            set_tokens(&tokenizer.vocab, n_vocab, true, metadata);
            set_blanks(blanks, metadata);
            if !blanks.charsmap.is_empty() || blanks.remove_extra {
                notes.push(Note::new(
                    "the tokenizer normalizes text first, which llama.cpp does not do for SentencePiece BPE",
                ));
            }
            if matches!(tokenizer.scheme, Scheme::Squares(_)) {
                notes.push(Note::new(
                    "the scores that the legacy vocabulary lacks were taken from the order of its tokens",
                ));
            }
        }
        Scheme::Unigram(blanks) => {
            metadata.set(keys::TOKENIZER_MODEL, "t5");
            metadata.set(keys::TOKENIZER_PRE, "default");
            set_tokens(&tokenizer.vocab, n_vocab, true, metadata);
            set_blanks(blanks, metadata);
        }
    }
    set_special(tokenizer, metadata);
    for (name, template) in &tokenizer.templates {
        match name.as_str() {
            "default" => metadata.set(keys::CHAT_TEMPLATE, template.as_str()),
            _ => metadata.set(format!("{}.{name}", keys::CHAT_TEMPLATE), template.as_str()),
        }
    }
    let named: Vec<String> = tokenizer
        .templates
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| name != "default")
        .collect();
    if !named.is_empty() {
        metadata.set(CHAT_TEMPLATES, named);
    }
    if let Some(kept) = &tokenizer.kept
        && let Some(note) = &kept.note
    {
        metadata.set(keys::TOKENIZER_HF_JSON, kept.json.as_str());
        notes.push(note.clone());
    }
    Ok(notes)
}

/// Texts, kinds and perhaps scores, padded to `n_vocab`. Readers demand that no text is there twice.
fn set_tokens(vocab: &Vocab, n_vocab: usize, with_scores: bool, metadata: &mut Metadata) {
    let tokens = unique_tokens(vocab, n_vocab);
    let texts: Vec<String> = tokens.iter().map(|token| token.text.to_string()).collect();
    metadata.set(keys::TOKENIZER_TOKENS, texts);
    if with_scores {
        let scores: Vec<f32> = tokens.iter().map(|token| token.score).collect();
        metadata.set(keys::TOKENIZER_SCORES, scores);
    }
    let kinds: Vec<i32> = tokens.iter().map(|token| token.kind as i32).collect();
    metadata.set(keys::TOKENIZER_TOKEN_TYPE, kinds);
}

/// All tokens under texts that are there once and are not empty, padded to `n_vocab`.
pub(crate) fn unique_tokens(vocab: &Vocab, n_vocab: usize) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(n_vocab);
    let mut unique = HashSet::with_capacity(n_vocab);
    for id in 0..n_vocab as TokenId {
        let token = vocab.get(id).filter(|token| vocab.id(&token.text) == Some(id));
        let mut text = match token {
            Some(token) if token.text.is_empty() => empty_text(id),
            Some(token) => token.text.to_string(),
            None => padding_text(id),
        };
        while token.is_none() && vocab.id(&text).is_some() || !unique.insert(text.clone()) {
            text.push('_');
        }
        tokens.push(Token {
            text: text.into(),
            score: token.map_or(PADDING_SCORE, |token| token.score),
            kind: token.map_or(Kind::Unused, |token| token.kind),
        });
    }
    tokens
}

/// The name of a token whose text is empty; llama.cpp gives it the same.
pub(crate) fn empty_text(id: TokenId) -> String {
    format!("[EMPTY_{id}]")
}

fn merge_lines(tokenizer: &Tokenizer, merges: &Merges) -> Result<Vec<String>> {
    let mut lines = Vec::with_capacity(merges.len());
    for &(left, right) in merges {
        let text = |id| tokenizer.vocab.text(id).unwrap_or_default();
        let (left, right) = (text(left), text(right));
        if left.contains(' ') || right.contains(' ') {
            let what =
                format!("GGUF cannot hold the merge of {left:?} and {right:?}: a part has a blank");
            return Err(Error::unsupported(&*tokenizer.origin, what));
        }
        lines.push(format!("{left} {right}"));
    }
    Ok(lines)
}

fn set_blanks(blanks: &Blanks, metadata: &mut Metadata) {
    metadata.set(keys::TOKENIZER_ADD_SPACE_PREFIX, blanks.add_prefix);
    if blanks.remove_extra {
        metadata.set(REMOVE_EXTRA, true);
    }
    if !blanks.charsmap.is_empty() {
        metadata.set(CHARSMAP, blanks.charsmap.clone());
    }
}

fn set_special(tokenizer: &Tokenizer, metadata: &mut Metadata) {
    let special = &tokenizer.special;
    for names in &ROLES {
        if let Some(id) = special.get(names.role) {
            metadata.set(names.keys[0], id);
        }
    }
    // A generation may end in more ways than the roles say; the first of them is an end of turn.
    let said: HashSet<TokenId> = [Role::Eos, Role::Eot, Role::Eom]
        .into_iter()
        .filter_map(|role| special.get(role))
        .collect();
    if special.get(Role::Eot).is_none_or(|id| special.get(Role::Eos) == Some(id))
        && let Some(&id) = special.ends.iter().find(|id| !said.contains(id))
    {
        metadata.set(keys::TOKENIZER_EOT_ID, id);
    }
    metadata.set(keys::TOKENIZER_ADD_BOS, tokenizer.adds_bos());
    metadata.set(keys::TOKENIZER_ADD_EOS, tokenizer.adds_eos());
}
