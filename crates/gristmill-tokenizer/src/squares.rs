//! How llama.cpp applied vocabularies without scores until March 2023: of all divisions of the text into pieces, the
//! one with the highest sum of squared lengths (`llama_tokenize` of the magic `ggml`).
//!
//! It prefers long pieces, which SentencePiece's own merging, that the models were trained with, often finds too.
//! Lengths are in bytes, with a blank as the one byte that it is.

use crate::TokenId;
use crate::prefixes::Prefixes;
use crate::scheme::BLANK;
use crate::vocab::{Kind, Vocab, byte_piece};

/// `MAX_TOKEN_LEN` of the time, in bytes.
const LONGEST: usize = 18;

/// The encoder of one vocabulary.
pub(crate) struct Squares {
    pieces: Prefixes,
    unknown: Option<TokenId>,
}

/// The best division of the text up to a place: its score, and the piece that it ends with.
#[derive(Clone, Copy, Default)]
struct Best {
    score: u64,
    len: usize,
    token: Option<TokenId>,
}

impl Squares {
    pub(crate) fn new(vocab: &Vocab, unknown: Option<TokenId>) -> Squares {
        let texts = vocab.found().filter_map(|(id, token)| match token.kind {
            Kind::Byte => Some((vec![byte_piece(&token.text)?], id)),
            Kind::Normal | Kind::UserDefined => {
                Some((token.text.replace(BLANK, " ").into_bytes(), id))
            }
            _ => None,
        });
        Squares { pieces: Prefixes::new(texts, LONGEST), unknown }
    }

    /// The tokens of `text`, in which blanks are U+2581. A run of bytes without a piece becomes one unknown token, if there is such a token.
    pub(crate) fn encode(&self, text: &str) -> Vec<TokenId> {
        let text = text.replace(BLANK, " ");
        let bytes = text.as_bytes();
        let mut best = vec![Best::default(); bytes.len() + 1];
        for start in 0..bytes.len() {
            let score = best[start].score;
            let mut offer = |len: usize, gain: u64, token| {
                let end = &mut best[start + len];
                // Of equals the first is kept, which is the one with the longest last piece.
                if end.len == 0 || end.score < score + gain {
                    *end = Best { score: score + gain, len, token };
                }
            };
            offer(1, 0, None);
            for (len, id) in self.pieces.of(&bytes[start..]) {
                offer(len, (len * len) as u64, Some(id));
            }
        }
        let mut found = Vec::new();
        let mut end = bytes.len();
        while end > 0 {
            found.push(best[end].token);
            end -= best[end].len;
        }
        found.reverse();
        found.dedup_by(|next, kept| next.is_none() && kept.is_none());
        found.into_iter().filter_map(|token| token.or(self.unknown)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::Token;

    fn squares(texts: &[&str]) -> Squares {
        let token = |text: &&str| {
            let kind = if byte_piece(text).is_some() { Kind::Byte } else { Kind::Normal };
            Token { text: (*text).into(), score: 0.0, kind }
        };
        Squares::new(&Vocab::from_tokens(texts.iter().map(token).collect()).0, Some(99))
    }

    #[test]
    fn the_highest_sum_of_squares_wins() {
        let squares = squares(&["<0x61>", "a", "b", "c", "ab", "bc", "bcab", "\u{2581}"]);
        // 1 + 16 beats 4 + 1 + 4.
        assert_eq!(squares.encode("abcab"), [1, 6]);
        assert_eq!(squares.encode("a b"), [1, 7, 2]);
        // Of a+bc and ab+c the one with the longer last piece.
        assert_eq!(squares.encode("abc"), [1, 5]);
    }

    #[test]
    fn bytes_without_a_piece_are_unknown_together() {
        let squares = squares(&["a", "<0xC3>"]);
        assert_eq!(squares.encode("axya"), [0, 99, 0]);
        assert_eq!(squares.encode("é"), [1, 99]);
    }
}
