//! SentencePiece's BPE, exactly: among all adjacent pairs whose concatenation is a piece, merge the one with the
//! highest score, the leftmost of equals, until none is left; what is then not a piece falls back to its bytes.
//!
//! Hugging Face's BPE ranks *pairs*, SentencePiece scores *pieces*; where a piece can be made of two different pairs
//! the two may disagree. This encoder agrees with SentencePiece and with llama.cpp's `llm_tokenizer_spm`, except that
//! text never merges into a control, unknown or byte piece, as in SentencePiece itself.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::TokenId;
use crate::vocab::{Kind, Vocab, byte_piece};

/// The encoder of one vocabulary.
#[derive(Debug)]
pub(crate) struct Spm {
    vocab: Arc<Vocab>,
    bytes: Vec<Option<TokenId>>,
    unknown: Option<TokenId>,
}

/// A run of the text that is one piece so far; empty after it was merged into its left neighbor.
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two adjacent symbols that may merge. `size` tells whether they are still what they were.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    size: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Pair) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Pair) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Pair) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

impl Spm {
    pub(crate) fn new(vocab: Arc<Vocab>, unknown: Option<TokenId>) -> Spm {
        let mut bytes = vec![None; 256];
        for (id, token) in vocab.iter().filter(|(_, token)| token.kind == Kind::Byte) {
            if let Some(byte) = byte_piece(&token.text) {
                bytes[usize::from(byte)].get_or_insert(id);
            }
        }
        Spm { vocab, bytes, unknown }
    }

    /// The tokens of `text`, in which blanks are U+2581 already. Characters that are neither a piece nor bytes become
    /// one unknown token per run, or nothing if the vocabulary has no such token.
    pub(crate) fn encode(&self, text: &str) -> Vec<TokenId> {
        let mut symbols = characters(text);
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        for right in 1..symbols.len() {
            self.offer(text, &symbols, Some(right - 1), Some(right), &mut queue);
        }
        while let Some(pair) = queue.pop() {
            let (left, right) = (&symbols[pair.left], &symbols[pair.right]);
            let merged_since = left.start == left.end || right.start == right.end;
            if merged_since || right.end - left.start != pair.size {
                continue;
            }
            let (end, next) = (right.end, right.next);
            symbols[pair.right].start = end;
            symbols[pair.left].end = end;
            symbols[pair.left].next = next;
            if let Some(next) = next {
                symbols[next].previous = Some(pair.left);
            }
            let previous = symbols[pair.left].previous;
            self.offer(text, &symbols, previous, Some(pair.left), &mut queue);
            self.offer(text, &symbols, Some(pair.left), next, &mut queue);
        }
        self.tokens(text, &symbols)
    }

    fn offer(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: Option<usize>,
        right: Option<usize>,
        queue: &mut BinaryHeap<Pair>,
    ) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let piece = &text[symbols[left].start..symbols[right].end];
        if let Some(id) = self.piece(piece)
            && let Some(token) = self.vocab.get(id)
        {
            queue.push(Pair { score: token.score, left, right, size: piece.len() });
        }
    }

    /// The token that text may merge into.
    fn piece(&self, text: &str) -> Option<TokenId> {
        if text.len() > self.vocab.longest() {
            return None;
        }
        let id = self.vocab.id(text)?;
        let kind = self.vocab.get(id)?.kind;
        matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused).then_some(id)
    }

    fn tokens(&self, text: &str, symbols: &[Symbol]) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        let mut in_unknown = false;
        for symbol in symbols.iter().filter(|symbol| symbol.start < symbol.end) {
            let piece = &text[symbol.start..symbol.end];
            if let Some(id) = self.piece(piece) {
                tokens.push(id);
                in_unknown = false;
                continue;
            }
            let bytes: Option<Vec<TokenId>> =
                piece.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
            match bytes {
                Some(bytes) => {
                    tokens.extend(bytes);
                    in_unknown = false;
                }
                None => {
                    tokens.extend(self.unknown.filter(|_| !in_unknown));
                    in_unknown = true;
                }
            }
        }
        tokens
    }
}

/// One symbol per character, chained.
fn characters(text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
    for (index, (start, character)) in text.char_indices().enumerate() {
        let end = start + character.len_utf8();
        let next = (end < text.len()).then_some(index + 1);
        symbols.push(Symbol { start, end, previous: index.checked_sub(1), next });
    }
    symbols
}
