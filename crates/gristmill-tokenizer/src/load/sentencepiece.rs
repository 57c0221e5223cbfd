//! tokenizer.model: SentencePiece's protobuf.
//!
//! Only the fields that tokenizing needs are declared; prost skips the others. Both kinds of models are read: BPE, by
//! our exact encoder, and unigram, by Hugging Face's.

use std::path::Path;
use std::sync::Arc;

use prost::Message;

use super::config::Config;
use crate::scheme::{Blanks, Scheme, sentencepiece_encoder};
use crate::special::{Role, Special};
use crate::tokenizer::Parts;
use crate::vocab::{Kind, MAX_TOKENS, Token, Vocab};
use crate::{Error, Result, TokenId, Tokenizer, save};

/// A larger file is none: the largest released ones have 5 MB, and small pieces grow in memory.
pub(super) const MAX_BYTES: u64 = 16 << 20;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

/// One piece: a token with its score.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Piece {
    #[prost(string, tag = "1")]
    pub(super) text: String,
    #[prost(float, tag = "2")]
    pub(super) score: f32,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    vocab_size: Option<i32>,
    #[prost(bool, tag = "24")]
    treat_whitespace_as_suffix: bool,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40")]
    unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41")]
    bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    eos_id: Option<i32>,
    #[prost(int32, optional, tag = "43")]
    pad_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", tag = "2")]
    charsmap: Vec<u8>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

/// The pieces of a file, for the scores that a tokenizer.json beside it lacks; `None` when it is broken.
pub(super) fn pieces(bytes: &[u8]) -> Option<Vec<Piece>> {
    Some(ModelProto::decode(bytes).ok()?.pieces)
}

/// The tokenizer of one file.
pub(super) fn from_bytes(path: &Path, bytes: &[u8], config: &Config) -> Result<Tokenizer> {
    let file = path.display().to_string();
    let model = ModelProto::decode(bytes)
        .map_err(|error| Error::malformed(&file, "SentencePiece model", error.to_string()))?;
    let n_pieces = model.pieces.len();
    if n_pieces == 0 || n_pieces > MAX_TOKENS {
        return Err(Error::malformed(file, "pieces", format!("there are {n_pieces}")));
    }
    let trainer = model.trainer.unwrap_or_default();
    let normalizer = model.normalizer.unwrap_or_default();
    let is_bpe = match trainer.model_type.unwrap_or(1) {
        1 => false,
        2 => true,
        other => {
            let what =
                format!("SentencePiece model type {other}; unigram (1) and BPE (2) are supported");
            return Err(Error::unsupported(file, what));
        }
    };
    if trainer.treat_whitespace_as_suffix || normalizer.escape_whitespaces == Some(false) {
        let what = "SentencePiece with blanks behind words, or unescaped, is not supported";
        return Err(Error::unsupported(file, what));
    }
    let mut vocab = vocab(&file, &model.pieces)?;
    config.extend(&mut vocab)?;

    let mut special = Special::default();
    config.assign(&vocab, &mut special);
    let roles = [
        (Role::Unk, trainer.unk_id.unwrap_or(0)),
        (Role::Bos, trainer.bos_id.unwrap_or(1)),
        (Role::Eos, trainer.eos_id.unwrap_or(2)),
        (Role::Pad, trainer.pad_id.unwrap_or(-1)),
    ];
    for (role, id) in roles {
        if let Ok(id) = TokenId::try_from(id)
            && vocab.get(id).is_some()
        {
            special.propose(role, id);
        }
    }
    special.complete(&mut vocab);
    special.surround(config.add_bos().unwrap_or(is_bpe), config.add_eos().unwrap_or(!is_bpe));

    let add_prefix = normalizer.add_dummy_prefix.unwrap_or(true);
    let blanks = Blanks {
        add_prefix,
        strip_prefix: add_prefix,
        remove_extra: normalizer.remove_extra_whitespaces.unwrap_or(true),
        charsmap: normalizer.charsmap,
    };
    let scheme = if is_bpe { Scheme::SentencePiece(blanks) } else { Scheme::Unigram(blanks) };
    let vocab = Arc::new(vocab);
    let encoder = sentencepiece_encoder(&file, &vocab, &special, &scheme)?;
    Ok(Tokenizer::assemble(Parts {
        origin: file,
        vocab,
        scheme,
        special,
        encoder,
        templates: config.templates.clone(),
        notes: Vec::new(),
        kept: None,
    }))
}

/// tokenizer.model with the vocabulary of a tokenizer that has pieces.
pub(crate) fn to_bytes(tokenizer: &Tokenizer) -> Vec<u8> {
    let blanks = match &tokenizer.scheme {
        Scheme::SentencePiece(blanks) | Scheme::Unigram(blanks) | Scheme::Squares(blanks) => blanks,
        Scheme::ByteLevel { .. } | Scheme::Longest => unreachable!("their tokens are no pieces"),
    };
    let tokens = save::unique_tokens(&tokenizer.vocab, tokenizer.vocab.len());
    let model_type = if matches!(tokenizer.scheme, Scheme::Unigram(_)) { 1 } else { 2 };
    let role = |role| tokenizer.special.get(role).map_or(-1, TokenId::cast_signed);
    let byte_fallback = tokens.iter().any(|token| token.kind == Kind::Byte);
    let model = ModelProto {
        trainer: Some(TrainerSpec {
            model_type: Some(model_type),
            vocab_size: Some(tokens.len() as i32),
            treat_whitespace_as_suffix: false,
            byte_fallback: Some(byte_fallback),
            unk_id: Some(role(Role::Unk)),
            bos_id: Some(role(Role::Bos)),
            eos_id: Some(role(Role::Eos)),
            pad_id: Some(role(Role::Pad)),
        }),
        normalizer: Some(NormalizerSpec {
            charsmap: blanks.charsmap.clone(),
            add_dummy_prefix: Some(blanks.add_prefix),
            remove_extra_whitespaces: Some(blanks.remove_extra),
            escape_whitespaces: Some(true),
        }),
        pieces: tokens
            .into_iter()
            .map(|token| Piece {
                text: token.text.to_string(),
                score: token.score,
                kind: Some(token.kind as i32),
            })
            .collect(),
    };
    model.encode_to_vec()
}

fn vocab(file: &str, pieces: &[Piece]) -> Result<Vocab> {
    let mut tokens = Vec::with_capacity(pieces.len());
    for (id, piece) in pieces.iter().enumerate() {
        if !piece.score.is_finite() {
            return Err(Error::malformed(file, format!("piece {id}"), "its score is not finite"));
        }
        let text = piece.text.as_str().into();
        let kind = Kind::from_number(piece.kind.unwrap_or(Kind::Normal as i32));
        tokens.push(Token { text, score: piece.score, kind });
    }
    let (vocab, repeated) = Vocab::from_tokens(tokens);
    match repeated.first() {
        Some(&id) => {
            let what = format!("{:?} is there twice", pieces[id as usize].text);
            Err(Error::malformed(file, format!("piece {id}"), what))
        }
        None => Ok(vocab),
    }
}
