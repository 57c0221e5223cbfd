//! How ggml's programs of 2023 applied byte-level vocabularies: words are cut out, and each is divided by the longest
//! token that it starts with, again and again.
//!
//! Their files had no merges, so this is what GPT-J, GPT-NeoX, MPT and their kin were run with (`gpt_tokenize` in
//! ggml's examples). It is not what the models were trained with. Words are cut by GPT-2's pattern with POSIX classes
//! over bytes: only ASCII letters, digits and blanks count as such, and every other byte as punctuation.
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?[[:alpha:]]+| ?[[:digit:]]+| ?[^\s[:alpha:][:digit:]]+|\s+(?!\S)|\s+
//! ```

use crate::TokenId;
use crate::byte_level;
use crate::prefixes::Prefixes;
use crate::vocab::{Kind, Vocab};

/// Bytes of the longest token that is looked for; runs of blanks are the longest in released vocabularies.
const LONGEST: usize = 512;

const CONTRACTIONS: [&[u8]; 7] = [b"'s", b"'t", b"'re", b"'ve", b"'m", b"'ll", b"'d"];

/// The encoder of one vocabulary.
pub(crate) struct Longest(Prefixes);

impl Longest {
    pub(crate) fn new(vocab: &Vocab) -> Longest {
        let texts = vocab
            .found()
            .filter(|(_, token)| matches!(token.kind, Kind::Normal | Kind::UserDefined))
            .map(|(id, token)| (byte_level::to_bytes(&token.text), id));
        Longest(Prefixes::new(texts, LONGEST))
    }

    /// The tokens of `text`. A byte with which no token starts is skipped.
    pub(crate) fn encode(&self, text: &str) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (mut word, behind) = rest.split_at(word_len(rest));
            while !word.is_empty() {
                let longest = self.0.of(word).last();
                tokens.extend(longest.map(|(_, id)| id));
                word = &word[longest.map_or(1, |(len, _)| len)..];
            }
            rest = behind;
        }
        tokens
    }
}

/// What the pattern tells bytes apart by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    Blank,
    Other,
}

fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b' ' | b'\t'..=b'\r' => Class::Blank,
        _ => Class::Other,
    }
}

/// The length of the word that `bytes`, which are not empty, start with.
fn word_len(bytes: &[u8]) -> usize {
    if let Some(found) = CONTRACTIONS.iter().find(|found| bytes.starts_with(found)) {
        return found.len();
    }
    let run = |from: usize, kind: Class| {
        bytes[from..].iter().take_while(|&&byte| class(byte) == kind).count()
    };
    let space = usize::from(bytes[0] == b' ');
    match bytes.get(space).map(|&byte| class(byte)) {
        Some(kind) if kind != Class::Blank => space + run(space, kind),
        _ => {
            // The last blank before a word belongs to the word, or stands alone if it cannot.
            let blanks = run(0, Class::Blank);
            if blanks > 1 && blanks < bytes.len() { blanks - 1 } else { blanks }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let (mut words, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let (word, behind) = rest.split_at(word_len(rest.as_bytes()));
            words.push(word);
            rest = behind;
        }
        words
    }

    #[test]
    fn words_are_cut_as_the_pattern_says() {
        assert_eq!(words("Hello it's 12x"), ["Hello", " it", "'s", " 12", "x"]);
        assert_eq!(words("a   b\n\n c "), ["a", "  ", " b", "\n\n", " c", " "]);
        assert_eq!(
            words("na\u{ef}ve \u{4e2d}\u{6587}!"),
            ["na", "\u{ef}", "ve", " \u{4e2d}\u{6587}!"]
        );
        assert_eq!(words("'S \t"), ["'", "S", " \t"]);
    }

    #[test]
    fn the_longest_token_is_taken_first_and_unknown_bytes_are_skipped() {
        let pairs = ["a", "b", "ab", "bcd", "\u{120}a"].iter().zip(0..);
        let pairs = pairs.map(|(text, id)| ((*text).to_owned(), id)).collect();
        let longest = Longest::new(&Vocab::from_pairs("test", "vocab", pairs).unwrap());
        // Merging could have made a and bcd of it.
        assert_eq!(longest.encode("abcd a"), [2, 4]);
        assert_eq!(longest.encode("?ba"), [1, 0]);
    }
}
