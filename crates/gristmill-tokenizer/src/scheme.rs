//! The schemes by which a vocabulary is applied to text, and the parts of Hugging Face's pipeline built for each.

use std::sync::Arc;

use tokenizers::AddedToken;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{NFC, Prepend, Strip};

use crate::charsmap;
use crate::encoder::{Encoder, Pieces};
use crate::longest::Longest;
use crate::normalize::Step;
use crate::pre::Family;
use crate::special::{Role, Special};
use crate::spm::Spm;
use crate::squares::Squares;
use crate::vocab::{Kind, Vocab};
use crate::{Error, Result, TokenId};

/// The mark that SentencePiece writes for a blank.
pub(crate) const BLANK: &str = "\u{2581}";

/// Text of all added tokens together, in bytes. The largest released set has a hundredth of it.
const MAX_ADDED_BYTES: usize = 4 << 20;

/// Two tokens that become one, in the order of their priority.
pub(crate) type Merges = Vec<(TokenId, TokenId)>;

/// How the pieces of a vocabulary are found in a text.
#[derive(Debug)]
pub(crate) enum Scheme {
    /// Words are cut out, their bytes merged by rank. `name` is that of the cuts in GGUF.
    ByteLevel { family: &'static Family, name: &'static str, merges: Merges },
    /// Characters are merged by the score of the result.
    SentencePiece(Blanks),
    /// The division of the text with the highest sum of scores.
    Unigram(Blanks),
    /// A byte-level vocabulary without merges, in the way of its day: the longest token first, word by word.
    Longest,
    /// A SentencePiece vocabulary without scores, in the way of its day: the highest sum of squared lengths.
    Squares(Blanks),
}

impl Scheme {
    /// Whether the texts of tokens are in the byte-level alphabet.
    pub(crate) fn is_byte_level(&self) -> bool {
        matches!(self, Scheme::ByteLevel { .. } | Scheme::Longest)
    }
}

/// What SentencePiece does to a text before dividing it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Blanks {
    /// A blank goes in front of every stretch of text between special tokens.
    pub(crate) add_prefix: bool,
    /// Decoding takes one blank off the front of the text.
    pub(crate) strip_prefix: bool,
    /// Runs of blanks become one blank; those at the ends go.
    pub(crate) remove_extra: bool,
    /// SentencePiece's compiled table of character replacements; usually empty.
    pub(crate) charsmap: Vec<u8>,
}

impl Blanks {
    /// The normalizers that do it.
    pub(crate) fn normalizers(&self, file: &str) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        if !self.charsmap.is_empty() {
            let normalizer = charsmap::normalizer(file, &self.charsmap)?;
            steps.push(Step::HuggingFace(normalizer.into()));
        }
        if self.remove_extra {
            steps.push(Step::HuggingFace(Strip::new(true, true).into()));
            steps.push(Step::join_blanks());
        }
        if self.add_prefix {
            steps.push(Step::HuggingFace(Prepend::new(BLANK.to_owned()).into()));
        }
        steps.push(Step::replace(" ", BLANK));
        Ok(steps)
    }
}

/// The encoder of a byte-level vocabulary of this family.
pub(crate) fn byte_level_encoder(
    file: &str,
    vocab: &Arc<Vocab>,
    family: &Family,
    merges: &Merges,
) -> Result<Encoder> {
    let model = bpe(file, vocab, merges, |builder| builder.ignore_merges(family.ignore_merges))?;
    let pre_tokenizer = family
        .pre_tokenizer()
        .map_err(|error| Error::malformed(file, "pre-tokenizer", error.to_string()))?;
    let normalizers = family.nfc.then(|| Step::HuggingFace(NFC.into())).into_iter().collect();
    let added = added_by_kind(file, vocab)?;
    Ok(Encoder::new(Pieces::Bpe(model), vocab.clone(), normalizers, Some(pre_tokenizer), &added))
}

/// The encoder of a legacy file's byte-level vocabulary, which has no merges.
pub(crate) fn longest_encoder(file: &str, vocab: &Arc<Vocab>) -> Result<Encoder> {
    let added = added_by_kind(file, vocab)?;
    let pieces = Pieces::Longest(Longest::new(vocab));
    Ok(Encoder::new(pieces, vocab.clone(), Vec::new(), None, &added))
}

/// The encoder of a SentencePiece vocabulary of any kind.
pub(crate) fn sentencepiece_encoder(
    file: &str,
    vocab: &Arc<Vocab>,
    special: &Special,
    scheme: &Scheme,
) -> Result<Encoder> {
    let (pieces, blanks) = match scheme {
        Scheme::Unigram(blanks) => {
            (Pieces::Unigram(unigram(file, vocab, special.get(Role::Unk))?), blanks)
        }
        Scheme::SentencePiece(blanks) => {
            (Pieces::Spm(Spm::new(vocab.clone(), special.get(Role::Unk))), blanks)
        }
        Scheme::Squares(blanks) => {
            (Pieces::Squares(Squares::new(vocab, special.get(Role::Unk))), blanks)
        }
        Scheme::ByteLevel { .. } | Scheme::Longest => {
            unreachable!("byte-level vocabularies have their own encoder")
        }
    };
    let added = added_by_kind(file, vocab)?;
    Ok(Encoder::new(pieces, vocab.clone(), blanks.normalizers(file)?, None, &added))
}

/// Hugging Face's BPE over our vocabulary.
///
/// # Errors
/// [`Error::Malformed`] when Hugging Face refuses the merges.
pub(crate) fn bpe(
    file: &str,
    vocab: &Vocab,
    merges: &Merges,
    options: impl FnOnce(tokenizers::models::bpe::BpeBuilder) -> tokenizers::models::bpe::BpeBuilder,
) -> Result<BPE> {
    let text = |id| vocab.text(id).expect("merges were resolved in this vocabulary").to_owned();
    let pairs = merges.iter().map(|&(left, right)| (text(left), text(right))).collect();
    let known: tokenizers::models::bpe::Vocab =
        vocab.found().map(|(id, token)| (token.text.to_string(), id)).collect();
    options(BPE::builder().vocab_and_merges(known, pairs))
        .build()
        .map_err(|error| Error::malformed(file, "merges", error.to_string()))
}

/// Hugging Face's unigram model over our vocabulary. Control and unused tokens, and those without text, take part under
/// a text that nobody types, so that plain text does not spell them.
pub(crate) fn unigram(file: &str, vocab: &Vocab, unknown: Option<TokenId>) -> Result<Unigram> {
    let mut byte_fallback = false;
    let mut pieces = Vec::with_capacity(vocab.len());
    for (id, token) in vocab.iter() {
        if !token.score.is_finite() {
            return Err(Error::malformed(file, format!("score of token {id}"), "is not finite"));
        }
        byte_fallback |= token.kind == Kind::Byte;
        let spelled = matches!(token.kind, Kind::Normal | Kind::UserDefined | Kind::Byte);
        let spelled = spelled && !token.text.is_empty();
        let text = if spelled { token.text.to_string() } else { format!("\0{id}") };
        pieces.push((text, f64::from(token.score)));
    }
    Unigram::from(pieces, unknown.map(|id| id as usize), byte_fallback)
        .map_err(|error| Error::malformed(file, "vocabulary", error.to_string()))
}

/// The tokens that are cut out of a text first, by their kinds.
///
/// # Errors
/// [`Error::Malformed`] when they are absurdly many.
pub(crate) fn added_by_kind(file: &str, vocab: &Vocab) -> Result<Vec<AddedToken>> {
    let mut added = Vec::new();
    for (_, token) in vocab.iter() {
        let special = match token.kind {
            Kind::Control | Kind::Unknown => true,
            Kind::UserDefined => false,
            _ => continue,
        };
        added.push(AddedToken::from(&*token.text, special).normalized(false));
    }
    check_added(file, &added)?;
    Ok(added)
}

/// Refuses sets of added tokens whose search automaton would eat the memory.
pub(crate) fn check_added(file: &str, added: &[AddedToken]) -> Result<()> {
    let bytes: usize = added.iter().map(|token| token.content.len()).sum();
    if bytes > MAX_ADDED_BYTES {
        let what = format!("{} tokens of together {bytes} bytes are too many", added.len());
        return Err(Error::malformed(file, "added tokens", what));
    }
    Ok(())
}
