//! The vocabulary: token texts, scores and kinds by id, and ids by text.
//!
//! Texts are kept as files have them: byte-level pieces in their alphabet, SentencePiece pieces with U+2581 for the
//! blank. Ids without a token (some vocabularies have gaps) are filled with unused padding.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::{Error, Result, TokenId};

/// More tokens than any released vocabulary has.
pub(crate) const MAX_TOKENS: usize = 1 << 22;
/// More merges than any released vocabulary has.
pub(crate) const MAX_MERGES: usize = 1 << 23;
/// Ids that may be missing between the first and the last token.
const MAX_GAPS: usize = 1 << 20;

/// What a token is; the numbers are GGUF's and SentencePiece's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

impl Kind {
    /// The kind with this number; numbers that nobody defined mean a normal token.
    pub(crate) fn from_number(number: i32) -> Kind {
        match number {
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => Kind::Normal,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: Arc<str>,
    pub(crate) score: f32,
    pub(crate) kind: Kind,
}

/// Tokens by id and ids by text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocab {
    tokens: Vec<Token>,
    ids: HashMap<Arc<str>, TokenId>,
    longest: usize,
}

impl Vocab {
    /// Tokens in the order of their ids. Where two share a text, the first is found by it and the second is only
    /// decoded; their ids are returned.
    pub(crate) fn from_tokens(tokens: Vec<Token>) -> (Vocab, Vec<TokenId>) {
        let mut vocab = Vocab::default();
        let mut repeated = Vec::new();
        vocab.ids.reserve(tokens.len());
        for (id, token) in (0..).zip(&tokens) {
            vocab.longest = vocab.longest.max(token.text.len());
            match vocab.ids.entry(token.text.clone()) {
                Entry::Vacant(entry) => _ = entry.insert(id),
                Entry::Occupied(_) => repeated.push(id),
            }
        }
        vocab.tokens = tokens;
        (vocab, repeated)
    }

    /// Tokens with their ids in any order, as JSON files have them.
    ///
    /// # Errors
    /// [`Error::Malformed`] when an id or a text appears twice, or when the ids leave too many gaps.
    pub(crate) fn from_pairs(file: &str, place: &str, pairs: Vec<(String, u64)>) -> Result<Vocab> {
        let count = pairs.len();
        let n_tokens = pairs.iter().map(|(_, id)| id.saturating_add(1)).max().unwrap_or(0);
        if n_tokens > (count + MAX_GAPS) as u64 || n_tokens > MAX_TOKENS as u64 {
            let what =
                format!("the highest id is {} but there are only {count} tokens", n_tokens - 1);
            return Err(Error::malformed(file, place, what));
        }
        let mut texts: Vec<Option<Arc<str>>> = vec![None; n_tokens as usize];
        for (text, id) in pairs {
            if let Some(other) = texts[id as usize].replace(text.as_str().into()) {
                let what = format!("{other:?} and {text:?} both have id {id}");
                return Err(Error::malformed(file, place, what));
            }
        }
        let mut vocab = Vocab::default();
        vocab.ids.reserve(count);
        for (id, text) in (0..).zip(texts) {
            match text {
                Some(text) => _ = vocab.push(file, place, text, Kind::Normal)?,
                None => vocab.push_gap(id),
            }
        }
        Ok(vocab)
    }

    fn push(&mut self, file: &str, place: &str, text: Arc<str>, kind: Kind) -> Result<TokenId> {
        let id = self.tokens.len() as TokenId;
        if let Some(other) = self.ids.insert(text.clone(), id) {
            let what = format!("{text:?} has two ids, {other} and {id}");
            return Err(Error::malformed(file, place, what));
        }
        self.longest = self.longest.max(text.len());
        self.tokens.push(Token { text, score: 0.0, kind });
        Ok(id)
    }

    fn push_gap(&mut self, id: TokenId) {
        let text = padding_text(id).into();
        self.tokens.push(Token { text, score: 0.0, kind: Kind::Unused });
    }

    /// Adds `text` under `id`, behind the present tokens or in a gap. A text that is there already keeps its id, as in
    /// Hugging Face's implementation. Returns the id.
    ///
    /// # Errors
    /// [`Error::Malformed`] when another token has that id or it leaves too many gaps.
    pub(crate) fn add(
        &mut self,
        file: &str,
        place: &str,
        text: &str,
        id: u64,
        kind: Kind,
    ) -> Result<TokenId> {
        if let Some(id) = self.id(text) {
            self.tokens[id as usize].kind = kind;
            return Ok(id);
        }
        let n_tokens = self.tokens.len();
        if id >= (n_tokens + MAX_GAPS) as u64 || id >= MAX_TOKENS as u64 {
            let what = format!("{text:?} has id {id} but there are only {n_tokens} tokens");
            return Err(Error::malformed(file, place, what));
        }
        let id = id as TokenId;
        while self.tokens.len() < id as usize {
            self.push_gap(self.tokens.len() as TokenId);
        }
        if id as usize == self.tokens.len() {
            return self.push(file, place, text.into(), kind);
        }
        let token = &mut self.tokens[id as usize];
        if token.kind != Kind::Unused || self.ids.contains_key(&token.text) {
            let what = format!("{:?} and {text:?} both have id {id}", token.text);
            return Err(Error::malformed(file, place, what));
        }
        *token = Token { text: text.into(), score: 0.0, kind };
        self.longest = self.longest.max(text.len());
        self.ids.insert(text.into(), id);
        Ok(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Bytes of the longest text.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    pub(crate) fn id(&self, text: &str) -> Option<TokenId> {
        self.ids.get(text).copied()
    }

    pub(crate) fn get(&self, id: TokenId) -> Option<&Token> {
        self.tokens.get(id as usize)
    }

    pub(crate) fn text(&self, id: TokenId) -> Option<&str> {
        self.get(id).map(|token| &*token.text)
    }

    pub(crate) fn set_kind(&mut self, id: TokenId, kind: Kind) {
        if let Some(token) = self.tokens.get_mut(id as usize) {
            token.kind = kind;
        }
    }

    pub(crate) fn set_score(&mut self, id: TokenId, score: f32) {
        if let Some(token) = self.tokens.get_mut(id as usize) {
            token.score = score;
        }
    }

    /// Tokens in the order of their ids, without those that repeat the text of an earlier one.
    pub(crate) fn found(&self) -> impl Iterator<Item = (TokenId, &Token)> {
        self.iter().filter(|&(id, token)| self.id(&token.text) == Some(id))
    }

    /// Tokens in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TokenId, &Token)> {
        (0..).zip(&self.tokens)
    }
}

/// The text of an id that has no token; llama.cpp's converter writes the same.
pub(crate) fn padding_text(id: TokenId) -> String {
    format!("[PAD{id}]")
}

/// The byte of a piece `<0xHH>`.
pub(crate) fn byte_piece(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}
