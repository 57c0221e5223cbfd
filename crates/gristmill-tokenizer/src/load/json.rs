//! tokenizer.json: Hugging Face's own format, applied as it is.
//!
//! The parts of the pipeline go to Hugging Face's code unchanged. What that code would trust blindly is checked here
//! first: ids, merges, the texts around a prompt, compiled tables. The model's vocabulary and the added tokens become
//! one [`Vocab`], in which ids are what the file says.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use super::config::Config;
use super::json_file::{Added, File, Model, Vocabulary};
use super::json_shape::{self, Shape};
use super::sentencepiece::Piece;
use crate::encoder::{Encoder, Pieces};
use crate::merges::{self, resolve};
use crate::normalize::Step;
use crate::scheme::{self, Blanks, Merges, Scheme};
use crate::special::{Role, Special};
use crate::tokenizer::{Kept, Parts};
use crate::vocab::{Kind, Token, Vocab, byte_piece};
use crate::{Error, Note, Result, TokenId, Tokenizer};

/// Normalizers or pre-tokenizers in a row.
const MAX_PARTS: usize = 64;
/// Bytes of all patterns of a normalizer or pre-tokenizer.
const MAX_PATTERNS: usize = 32 << 10;
/// Bytes that one normalizer inserts at a place.
const MAX_INSERTED: usize = 256;

/// A tokenizer.json that was understood, before anything beside it is asked.
pub(super) struct Json {
    pub(super) vocab: Vocab,
    merges: Merges,
    pieces: Pieces,
    normalizers: Vec<Step>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    added: Vec<AddedToken>,
    shape: Shape,
    /// What the post-processor puts in front of a text and behind it, if it has a template.
    around: Option<(Vec<TokenId>, Vec<TokenId>)>,
    unknown: Option<TokenId>,
}

/// The tokenizer of a file in a model folder. `pieces` are those of the tokenizer.model beside it.
pub(super) fn from_file(
    path: &Path,
    text: String,
    config: &Config,
    pieces: Option<&[Piece]>,
) -> Result<Tokenizer> {
    let file = path.display().to_string();
    let parsed = serde_json::from_str(&text).map_err(|error| Error::json(path, &error))?;
    let mut json = Json::new(&file, parsed)?;
    json.score(pieces);
    let mut special = Special::default();
    config.assign(&json.vocab, &mut special);
    json.assign(&mut special);
    let sentencepiece = matches!(json.shape, Shape::SentencePiece(_));
    let add_bos = config.add_bos().unwrap_or(sentencepiece);
    json.surround(&mut special, add_bos, config.add_eos().unwrap_or(false));
    json.finish(file, text, special, config.templates.clone())
}

impl Json {
    /// Checks and builds the parts of a file.
    pub(super) fn new(file: &str, parsed: File) -> Result<Json> {
        check_normalizer(file, &parsed.normalizer)?;
        check_pre_tokenizer(file, &parsed.pre_tokenizer)?;
        let shape = json_shape::shape(file, &parsed)?;
        let File { added_tokens, normalizer, pre_tokenizer, post_processor, model, .. } = parsed;
        let normalizers = json_shape::parts(&normalizer)
            .into_iter()
            .map(Step::from_json)
            .collect::<Result<Vec<Step>, String>>()
            .map_err(|error| Error::malformed(file, "normalizer", error))?;
        let pre_tokenizer: Option<PreTokenizerWrapper> = serde_json::from_value(pre_tokenizer)
            .map_err(|error| Error::malformed(file, "pre_tokenizer", error.to_string()))?;

        let unigram = matches!(shape, Shape::Unigram(_));
        let (mut vocab, model) = vocabulary(file, model, unigram)?;
        let merges = resolve_merges(file, &vocab, &model)?;
        let mut unknown = model.unk_token.as_deref().and_then(|text| vocab.id(text));
        if unigram {
            unknown = model.unk_id.and_then(|id| TokenId::try_from(id).ok());
        }
        let bpe = match shape {
            Shape::Unigram(_) => None,
            _ => Some(scheme::bpe(file, &vocab, &merges, |builder| options(builder, &model))?),
        };
        let added = add_tokens(file, &mut vocab, &added_tokens)?;
        if !matches!(shape, Shape::ByteLevel { .. }) {
            sentencepiece_kinds(&mut vocab, unknown);
        }
        let pieces = match bpe {
            Some(bpe) => Pieces::Bpe(bpe),
            None => Pieces::Unigram(scheme::unigram(file, &vocab, unknown)?),
        };
        let around = around(file, &vocab, &post_processor)?;
        let parts = Json {
            vocab,
            merges,
            pieces,
            normalizers,
            pre_tokenizer,
            added,
            shape,
            around,
            unknown,
        };
        Ok(parts)
    }

    /// Roles that the file itself tells.
    pub(super) fn assign(&self, special: &mut Special) {
        if let Some(id) = self.unknown {
            special.propose(Role::Unk, id);
        }
    }

    /// The tokens around a text: those of the file's template, or BOS and EOS as asked for.
    pub(super) fn surround(&mut self, special: &mut Special, add_bos: bool, add_eos: bool) {
        match self.around.take() {
            Some((prefix, suffix)) => (special.prefix, special.suffix) = (prefix, suffix),
            None => special.surround(add_bos, add_eos),
        }
    }

    /// Scores for the pieces, without which GGUF cannot tell the order of merges: those of tokenizer.model where it
    /// has the same pieces, else from the order of the merges.
    pub(super) fn score(&mut self, pieces: Option<&[Piece]>) {
        if !matches!(self.shape, Shape::SentencePiece(_)) {
            return;
        }
        merges::score(&mut self.vocab, &self.merges);
        let pieces = pieces.unwrap_or_default();
        let same = (0..).zip(pieces).all(|(id, piece)| self.vocab.text(id) == Some(&piece.text));
        if same && pieces.iter().all(|piece| piece.score.is_finite()) {
            for (id, piece) in (0..).zip(pieces) {
                self.vocab.set_score(id, piece.score);
            }
        }
    }

    /// The tokenizer; `text` is the file's, which is kept: GGUF's keys may not be able to say the same.
    pub(super) fn finish(
        mut self,
        file: String,
        text: String,
        mut special: Special,
        templates: Vec<(String, String)>,
    ) -> Result<Tokenizer> {
        special.complete(&mut self.vocab);
        let (scheme, doubt) = self.scheme();
        let note = doubt.or_else(|| around_doubt(&special)).map(|doubt| {
            Note::new(format!(
                "GGUF's own keys describe this tokenizer only roughly ({doubt}); the exact tokenizer.json is stored \
                 beside them, which gristmill prefers and other programs ignore"
            ))
        });
        let vocab = Arc::new(self.vocab);
        let encoder = Encoder::new(
            self.pieces,
            vocab.clone(),
            self.normalizers,
            self.pre_tokenizer,
            &self.added,
        );
        Ok(Tokenizer::assemble(Parts {
            origin: file,
            vocab,
            scheme,
            special,
            encoder,
            templates,
            notes: Vec::new(),
            kept: Some(Kept { json: text, note }),
        }))
    }

    /// The scheme, and why GGUF's keys cannot express it exactly.
    fn scheme(&mut self) -> (Scheme, Option<String>) {
        let merges = std::mem::take(&mut self.merges);
        match &self.shape {
            Shape::ByteLevel { family, doubt } => {
                (Scheme::ByteLevel { family, name: family.name(), merges }, doubt.clone())
            }
            Shape::SentencePiece(form) => {
                let blanks = form.blanks.clone();
                let doubt = form.doubt.clone().or_else(|| {
                    (!merges::agree_with_scores(&self.vocab, &merges))
                        .then(|| "its merges are not those of the pieces' scores".to_owned())
                });
                (Scheme::SentencePiece(blanks), doubt)
            }
            Shape::Unigram(form) => {
                let blanks = Blanks { charsmap: form.charsmap.clone(), ..form.blanks.clone() };
                (Scheme::Unigram(blanks), form.doubt.clone())
            }
        }
    }
}

/// Tokens around a text that add_bos_token and add_eos_token cannot say.
fn around_doubt(special: &Special) -> Option<String> {
    let said = |tokens: &[TokenId], role| {
        tokens.is_empty() || *tokens == Vec::from_iter(special.get(role))
    };
    let all_said = said(&special.prefix, Role::Bos) && said(&special.suffix, Role::Eos);
    (!all_said).then(|| "it puts other tokens around a text than one BOS and one EOS".to_owned())
}

fn options(
    builder: tokenizers::models::bpe::BpeBuilder,
    model: &Model,
) -> tokenizers::models::bpe::BpeBuilder {
    let builder = builder
        .fuse_unk(model.fuse_unk.unwrap_or(false))
        .byte_fallback(model.byte_fallback.unwrap_or(false))
        .ignore_merges(model.ignore_merges.unwrap_or(false));
    match &model.unk_token {
        Some(text) => builder.unk_token(text.clone()),
        None => builder,
    }
}

/// The model's own vocabulary, taken out of the model.
fn vocabulary(file: &str, mut model: Model, unigram: bool) -> Result<(Vocab, Model)> {
    let vocabulary = std::mem::replace(&mut model.vocab, Vocabulary::Ids(Vec::new()));
    let vocab = match (vocabulary, unigram) {
        (Vocabulary::Ids(pairs), false) => Vocab::from_pairs(file, "model.vocab", pairs)?,
        (Vocabulary::Scores(pairs), true) => {
            let tokens = pairs
                .into_iter()
                .map(|(text, score)| Token {
                    text: text.into(),
                    score: score as f32,
                    kind: Kind::Normal,
                })
                .collect();
            let (vocab, repeated) = Vocab::from_tokens(tokens);
            if let Some(&id) = repeated.first() {
                let what = format!("{:?} is there twice", vocab.text(id).unwrap_or_default());
                return Err(Error::malformed(file, format!("model.vocab[{id}]"), what));
            }
            vocab
        }
        (_, true) => {
            return Err(Error::malformed(
                file,
                "model.vocab",
                "should be a list of texts and scores",
            ));
        }
        (_, false) => {
            return Err(Error::malformed(file, "model.vocab", "should be a map of texts to ids"));
        }
    };
    Ok((vocab, model))
}

fn resolve_merges(file: &str, vocab: &Vocab, model: &Model) -> Result<Merges> {
    let merges = model.merges.as_ref().map_or(&[][..], |merges| &merges.0);
    let resolve = |(index, (left, right)): (usize, &(String, String))| {
        resolve(file, vocab, || format!("model.merges[{index}]"), left, right)
    };
    merges.iter().enumerate().map(resolve).collect()
}

/// Puts the added tokens into the vocabulary.
fn add_tokens(file: &str, vocab: &mut Vocab, tokens: &[Added]) -> Result<Vec<AddedToken>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|&index| tokens[index].id);
    for index in order {
        let token = &tokens[index];
        if token.content.is_empty() {
            continue;
        }
        let kind = if token.special { Kind::Control } else { Kind::UserDefined };
        vocab.add(file, &format!("added_tokens[{index}]"), &token.content, token.id, kind)?;
    }
    let added: Vec<AddedToken> = tokens
        .iter()
        .map(|token| {
            AddedToken::from(token.content.as_str(), token.special)
                .single_word(token.single_word)
                .lstrip(token.lstrip)
                .rstrip(token.rstrip)
                .normalized(token.normalized.unwrap_or(!token.special))
        })
        .collect();
    scheme::check_added(file, &added)?;
    Ok(added)
}

/// SentencePiece's kinds, which tokenizer.json does not tell.
fn sentencepiece_kinds(vocab: &mut Vocab, unknown: Option<TokenId>) {
    let bytes: Vec<TokenId> = vocab
        .iter()
        .filter(|(_, token)| token.kind == Kind::Normal && byte_piece(&token.text).is_some())
        .map(|(id, _)| id)
        .collect();
    for id in bytes {
        vocab.set_kind(id, Kind::Byte);
    }
    if let Some(id) = unknown {
        vocab.set_kind(id, Kind::Unknown);
    }
}

/// What a template puts in front of a single text and behind it.
fn around(
    file: &str,
    vocab: &Vocab,
    post_processor: &Value,
) -> Result<Option<(Vec<TokenId>, Vec<TokenId>)>> {
    let parts = json_shape::parts(post_processor);
    let malformed =
        || Error::malformed(file, "post_processor", "names a token that is not in the vocabulary");
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| TokenId::try_from(id).ok());
        id.filter(|&id| vocab.get(id).is_some()).ok_or_else(malformed)
    };
    let mut around = None;
    for part in parts {
        let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
        match part.get("type").and_then(Value::as_str) {
            Some("TemplateProcessing") => {
                let mut behind = false;
                for item in part.get("single").and_then(Value::as_array).into_iter().flatten() {
                    let Some(name) = item.get("SpecialToken").and_then(|token| token.get("id"))
                    else {
                        behind = true;
                        continue;
                    };
                    let token =
                        part.get("special_tokens").and_then(|tokens| tokens.get(name.as_str()?));
                    let ids = token
                        .and_then(|token| token.get("ids")?.as_array())
                        .ok_or_else(malformed)?;
                    for value in ids {
                        if behind { &mut suffix } else { &mut prefix }.push(id(value)?);
                    }
                }
            }
            Some("RobertaProcessing" | "BertProcessing") => {
                let second =
                    |key: &str| part.get(key).and_then(|pair| pair.get(1)).ok_or_else(malformed);
                prefix.push(id(second("cls")?)?);
                suffix.push(id(second("sep")?)?);
            }
            _ => continue,
        }
        around = Some((prefix, suffix));
    }
    Ok(around)
}

/// Refuses normalizers that Hugging Face's code would trip over.
fn check_normalizer(file: &str, normalizer: &Value) -> Result<()> {
    let malformed = |what: &str| Error::malformed(file, "normalizer", what);
    let parts = json_shape::parts(normalizer);
    check_patterns(&parts).map_err(malformed)?;
    for part in parts {
        let inserted = ["content", "prepend"].into_iter().filter_map(|key| part.get(key)?.as_str());
        if inserted.map(str::len).sum::<usize>() > MAX_INSERTED {
            return Err(malformed("inserts a very long text"));
        }
        if let Some(charsmap) = json_shape::charsmap(part) {
            let bytes = crate::charsmap::from_base64(charsmap)
                .ok_or_else(|| malformed("its precompiled_charsmap is not base64"))?;
            crate::charsmap::normalizer(file, &bytes)?;
        }
    }
    Ok(())
}

/// Refuses pre-tokenizers that Hugging Face's code would trip over.
fn check_pre_tokenizer(file: &str, pre_tokenizer: &Value) -> Result<()> {
    let malformed = |what: &str| Error::malformed(file, "pre_tokenizer", what);
    let parts = json_shape::parts(pre_tokenizer);
    check_patterns(&parts).map_err(malformed)?;
    if parts.iter().any(|part| part.get("length").and_then(Value::as_u64) == Some(0)) {
        return Err(malformed("cuts words of length 0"));
    }
    // Each would encode the letters of the one before, and double the text.
    if parts.iter().filter(|part| json_shape::is(part, "ByteLevel")).count() > 1 {
        return Err(malformed("encodes bytes as letters more than once"));
    }
    Ok(())
}

/// Regular expressions are compiled, so neither they nor their number may be absurd.
fn check_patterns(parts: &[&Value]) -> Result<(), &'static str> {
    if parts.len() > MAX_PARTS {
        return Err("has more parts than any real one");
    }
    let patterns = parts.iter().filter_map(|part| {
        let pattern = part.get("pattern")?;
        pattern.get("Regex").or(pattern.get("String"))?.as_str()
    });
    if patterns.map(str::len).sum::<usize>() > MAX_PATTERNS {
        return Err("has longer patterns than any real one");
    }
    Ok(())
}
