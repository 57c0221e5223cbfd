//! Merges: read as text, made from scores, turned into scores, and recovered from the order of a vocabulary.
//!
//! Byte-level files list merges; SentencePiece files give scores instead. Each can be made from the other, exactly when
//! a file follows the habits of its kind; [`agree_with_scores`] says whether it does. Old ggml files have neither, but
//! ids were given in the order in which merges were learnt, and that is enough (the method by which tiktoken's
//! vocabularies are converted).

use std::collections::HashMap;

use crate::scheme::Merges;
use crate::vocab::{Kind, Vocab};
use crate::{Error, Result, TokenId};

/// Longer tokens are never made by merging; they would only make [`recover`] slow.
const MAX_CHARS: usize = 512;

/// Splits `"a b"` at the first blank that is not the first character, as llama.cpp does.
pub(crate) fn split_pair(line: &str) -> Option<(&str, &str)> {
    let first = line.chars().next()?.len_utf8();
    let blank = first + line[first..].find(' ')?;
    Some((&line[..blank], &line[blank + 1..]))
}

/// The ids of a merge's two parts. The result must be a token too.
///
/// # Errors
/// [`Error::Malformed`] at `place` otherwise.
pub(crate) fn resolve(
    file: &str,
    vocab: &Vocab,
    place: impl Fn() -> String,
    left: &str,
    right: &str,
) -> Result<(TokenId, TokenId)> {
    let id = |text: &str| {
        vocab.id(text).ok_or_else(|| {
            let what = format!("{left:?} and {right:?}: {text:?} is not in the vocabulary");
            Error::malformed(file, place(), what)
        })
    };
    let pair = (id(left)?, id(right)?);
    id(&format!("{left}{right}"))?;
    Ok(pair)
}

/// All ways to make `text` of two tokens that merging may use.
fn splits<'a>(
    vocab: &'a Vocab,
    text: &'a str,
) -> impl Iterator<Item = (TokenId, TokenId)> + use<'a> {
    text.char_indices().skip(1).take(MAX_CHARS).filter_map(move |(at, _)| {
        let part = |text: &str| {
            vocab
                .id(text)
                .filter(|&id| vocab.get(id).is_some_and(|token| token.kind == Kind::Normal))
        };
        Some((part(&text[..at])?, part(&text[at..])?))
    })
}

/// Gives every normal token the score that makes SentencePiece merge in the order of these merges: minus the rank of
/// the first merge that makes it. Tokens that no merge makes come last.
pub(crate) fn score(vocab: &mut Vocab, merges: &Merges) {
    let mut ranks: HashMap<TokenId, usize> = HashMap::new();
    for (rank, &(left, right)) in merges.iter().enumerate() {
        if let Some(result) = result(vocab, left, right) {
            ranks.entry(result).or_insert(rank);
        }
    }
    let normal: Vec<TokenId> =
        vocab.iter().filter(|(_, token)| token.kind == Kind::Normal).map(|(id, _)| id).collect();
    let mut last = merges.len();
    for id in normal {
        let rank = ranks.get(&id).copied().unwrap_or_else(|| {
            last += 1;
            last - 1
        });
        vocab.set_score(id, -(rank as f32));
    }
}

fn result(vocab: &Vocab, left: TokenId, right: TokenId) -> Option<TokenId> {
    vocab.id(&format!("{}{}", vocab.text(left)?, vocab.text(right)?))
}

/// Whether merging by score finds the same pieces as these merges: every way to make a token is listed, the ways of
/// one token stand together, and tokens stand in the order of their scores.
pub(crate) fn agree_with_scores(vocab: &Vocab, merges: &Merges) -> bool {
    let mut listed: HashMap<TokenId, Vec<(TokenId, TokenId)>> = HashMap::new();
    let mut previous = None;
    for &(left, right) in merges {
        let Some(id) = result(vocab, left, right) else { return false };
        let Some(token) = vocab.get(id) else { return false };
        let same = previous.is_some_and(|(other, _)| other == id);
        let descends = previous.is_none_or(|(_, score)| token.score < score);
        if !same && (!descends || listed.contains_key(&id)) {
            return false;
        }
        previous = Some((id, token.score));
        listed.entry(id).or_default().push((left, right));
    }
    vocab.iter().filter(|(_, token)| token.kind == Kind::Normal).all(|(id, token)| {
        let ours = listed.get(&id).map_or(&[][..], Vec::as_slice);
        let mut n_splits = 0;
        splits(vocab, &token.text).all(|split| {
            n_splits += 1;
            ours.contains(&split)
        }) && n_splits == ours.len()
    })
}

/// Merges that were told from a vocabulary alone.
pub(crate) struct Recovered {
    pub(crate) merges: Merges,
    /// Every token of more than one character has its merge.
    pub(crate) complete: bool,
}

/// The merges of a byte-level vocabulary whose ids are in the order of learning: each token is what merging the tokens
/// before it leaves in two parts.
pub(crate) fn recover(vocab: &Vocab) -> Recovered {
    let mut recovered = Recovered { merges: Merges::new(), complete: true };
    for (id, token) in vocab.iter().filter(|(_, token)| token.kind == Kind::Normal) {
        match last_merge(vocab, id, &token.text) {
            Some(merge) => recovered.merges.push(merge),
            None => recovered.complete &= token.text.chars().nth(1).is_none(),
        }
    }
    recovered
}

/// The merges that find the same pieces as the scores: every way to make a piece of two others, best score first.
pub(crate) fn from_scores(vocab: &Vocab) -> Merges {
    let mut scored = Vec::new();
    for (id, token) in vocab.iter().filter(|(_, token)| token.kind == Kind::Normal) {
        scored.extend(splits(vocab, &token.text).map(|split| (token.score, id, split)));
    }
    scored.sort_by(|one, other| {
        let order = other.0.total_cmp(&one.0);
        order.then_with(|| (one.1, one.2).cmp(&(other.1, other.2)))
    });
    scored.into_iter().map(|(_, _, split)| split).collect()
}

/// The two tokens that `text` consists of when only tokens with lower ids are merged.
fn last_merge(vocab: &Vocab, id: TokenId, text: &str) -> Option<(TokenId, TokenId)> {
    // Bounds of the parts: part i is text[bounds[i]..bounds[i + 1]].
    let mut bounds: Vec<usize> =
        text.char_indices().map(|(at, _)| at).take(MAX_CHARS + 1).collect();
    if bounds.len() < 2 || bounds.len() > MAX_CHARS {
        return None;
    }
    bounds.push(text.len());
    while bounds.len() > 3 {
        let best = (0..bounds.len() - 2)
            .filter_map(|at| {
                let merged = vocab.id(&text[bounds[at]..bounds[at + 2]])?;
                (merged < id).then_some((merged, at))
            })
            .min()?;
        bounds.remove(best.1 + 1);
    }
    Some((vocab.id(&text[..bounds[1]])?, vocab.id(&text[bounds[1]..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab(texts: &[&str]) -> Vocab {
        let pairs = (0..).zip(texts).map(|(id, text)| ((*text).to_owned(), id)).collect();
        Vocab::from_pairs("test", "vocab", pairs).unwrap()
    }

    #[test]
    fn pairs_are_split_at_the_first_inner_blank() {
        assert_eq!(split_pair("a b"), Some(("a", "b")));
        assert_eq!(split_pair("Ġ b"), Some(("Ġ", "b")));
        assert_eq!(split_pair("  b"), Some((" ", "b")));
        assert_eq!(split_pair("ab"), None);
        assert_eq!(split_pair(""), None);
    }

    #[test]
    fn merges_are_recovered_from_the_order_of_ids() {
        let vocab = vocab(&["a", "b", "c", "ab", "bc", "abc", "abcab"]);
        // "abc" is "ab" and "c", since "ab" was learnt before "bc".
        let recovered = recover(&vocab);
        assert_eq!(recovered.merges, [(0, 1), (1, 2), (3, 2), (5, 3)]);
        assert!(recovered.complete);
    }

    #[test]
    fn a_token_that_nothing_makes_leaves_the_recovery_incomplete() {
        let recovered = recover(&vocab(&["a", "b", "abab", "ab"]));
        assert_eq!(recovered.merges, [(0, 1)]);
        assert!(!recovered.complete, "abab was there before ab");
    }

    #[test]
    fn merges_from_scores_agree_with_them() {
        let mut vocab = vocab(&["a", "b", "c", "bc", "abc", "ab"]);
        for id in 0..6 {
            vocab.set_score(id, -(id as f32));
        }
        let merges = from_scores(&vocab);
        assert_eq!(merges, [(1, 2), (0, 3), (5, 2), (0, 1)]);
        assert!(agree_with_scores(&vocab, &merges));
    }

    #[test]
    fn scores_from_merges_keep_their_order() {
        let mut vocab = vocab(&["a", "b", "c", "ab", "abc", "bc"]);
        let merges = vec![(1, 2), (0, 1), (3, 2), (0, 5)];
        score(&mut vocab, &merges);
        assert!(agree_with_scores(&vocab, &merges));
        let unlisted = vec![(1, 2), (0, 1), (3, 2)];
        assert!(!agree_with_scores(&vocab, &unlisted), "a + bc makes abc too");
        let mixed = vec![(1, 2), (3, 2), (0, 1), (0, 5)];
        assert!(!agree_with_scores(&vocab, &mixed), "the ways to make abc stand apart");
    }
}
