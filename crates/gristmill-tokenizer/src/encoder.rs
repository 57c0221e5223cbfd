//! The encoding machine: Hugging Face's pipeline of added tokens, normalizer, pre-tokenizer and model, with our
//! SentencePiece model and those of legacy files as further models.
//!
//! Two pipelines share their parts. One cuts special tokens out of the text; the other reads their spelling as plain
//! text, so that a user's words cannot forge a turn of the chat.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::Unigram;
use tokenizers::{
    AddedToken, DecoderWrapper, Model, NormalizedString, Normalizer, PostProcessorWrapper,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, TokenizerImpl,
};

use crate::TokenId;
use crate::longest::Longest;
use crate::normalize::{Row, Step};
use crate::spm::Spm;
use crate::squares::Squares;
use crate::vocab::Vocab;

/// How pieces are found in a stretch of text.
pub(crate) enum Pieces {
    Bpe(BPE),
    Unigram(Unigram),
    Spm(Spm),
    Longest(Longest),
    Squares(Squares),
}

/// A model whose ids are those of our vocabulary, also where Hugging Face would number added tokens anew.
struct Known {
    pieces: Pieces,
    vocab: Arc<Vocab>,
}

/// A part that both pipelines use.
struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0.clone())
    }
}

impl Normalizer for Shared<Row> {
    fn normalize(&self, normalized: &mut NormalizedString) -> tokenizers::Result<()> {
        self.0.normalize(normalized)
    }
}

impl PreTokenizer for Shared<PreTokenizerWrapper> {
    fn pre_tokenize(&self, pretokenized: &mut PreTokenizedString) -> tokenizers::Result<()> {
        self.0.pre_tokenize(pretokenized)
    }
}

impl Model for Shared<Known> {
    type Trainer = BpeTrainer;

    fn tokenize(&self, sequence: &str) -> tokenizers::Result<Vec<tokenizers::Token>> {
        match &self.0.pieces {
            Pieces::Bpe(model) => model.tokenize(sequence),
            Pieces::Unigram(model) => model.tokenize(sequence),
            Pieces::Spm(model) => Ok(without_places(model.encode(sequence))),
            Pieces::Longest(model) => Ok(without_places(model.encode(sequence))),
            Pieces::Squares(model) => Ok(without_places(model.encode(sequence))),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.vocab.id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.0.vocab.text(id).map(str::to_owned)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.0.vocab.iter().map(|(id, token)| (token.text.to_string(), id)).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.0.vocab.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("models are saved as GGUF metadata".into())
    }

    fn get_trainer(&self) -> BpeTrainer {
        BpeTrainer::default()
    }
}

/// Nobody asks for the texts and places of our own models' pieces, only for their ids.
fn without_places(ids: Vec<TokenId>) -> Vec<tokenizers::Token> {
    ids.into_iter().map(|id| tokenizers::Token::new(id, String::new(), (0, 0))).collect()
}

type Pipeline = TokenizerImpl<
    Shared<Known>,
    Shared<Row>,
    Shared<PreTokenizerWrapper>,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Text to token ids.
pub(crate) struct Encoder {
    parsing: Pipeline,
    plain: Pipeline,
}

impl Encoder {
    /// `added` are the tokens that are cut out of the text before anything else; their texts are in `vocab`.
    pub(crate) fn new(
        pieces: Pieces,
        vocab: Arc<Vocab>,
        normalizers: Vec<Step>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        added: &[AddedToken],
    ) -> Encoder {
        let mut parsing = Pipeline::new(Shared(Arc::new(Known { pieces, vocab })));
        if !normalizers.is_empty() {
            parsing.with_normalizer(Some(Shared(Arc::new(Row(normalizers)))));
        }
        parsing.with_pre_tokenizer(pre_tokenizer.map(|part| Shared(Arc::new(part))));
        parsing.add_tokens(added);
        let mut plain = parsing.clone();
        plain.set_encode_special_tokens(true);
        Encoder { parsing, plain }
    }

    /// The tokens of `text`. With `parse_special`, the spelling of a special token becomes that token.
    pub(crate) fn encode(
        &self,
        text: &str,
        parse_special: bool,
    ) -> tokenizers::Result<Vec<TokenId>> {
        let pipeline = if parse_special { &self.parsing } else { &self.plain };
        Ok(pipeline.encode_fast(text, false)?.get_ids().to_vec())
    }
}
