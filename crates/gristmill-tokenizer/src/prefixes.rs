//! Texts of a vocabulary by their beginnings: all tokens that a run of bytes starts with.
//!
//! The runtimes of legacy ggml files looked every substring up in a map. A sorted list that is narrowed byte by byte
//! finds the same tokens without hashing a substring at every length.

use crate::TokenId;

/// Texts with their ids, sorted.
pub(crate) struct Prefixes {
    texts: Vec<(Vec<u8>, TokenId)>,
    longest: usize,
}

impl Prefixes {
    /// Of equal texts the last counts: a letter's own piece stands behind that of its byte. Texts above `longest` bytes are never found.
    pub(crate) fn new(texts: impl Iterator<Item = (Vec<u8>, TokenId)>, longest: usize) -> Prefixes {
        let mut texts: Vec<(Vec<u8>, TokenId)> =
            texts.filter(|(text, _)| (1..=longest).contains(&text.len())).collect();
        texts.sort_unstable();
        texts.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = next.1;
            }
            same
        });
        let longest = texts.iter().map(|(text, _)| text.len()).max().unwrap_or(0);
        Prefixes { texts, longest }
    }

    /// The tokens that `bytes` starts with, as their length and id, shortest first.
    pub(crate) fn of<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (usize, TokenId)> + 'a {
        let mut rest = &self.texts[..];
        let places = bytes.iter().take(self.longest).enumerate();
        let narrowed = places.map_while(move |(at, byte)| {
            // Texts that end before this place sort in front of those with a byte there.
            let start = rest.partition_point(|(text, _)| text.get(at).is_none_or(|b| b < byte));
            rest = &rest[start..];
            let end = rest.partition_point(|(text, _)| text[at] == *byte);
            rest = &rest[..end];
            let (first, id) = rest.first()?;
            Some((first.len() == at + 1).then_some((at + 1, *id)))
        });
        narrowed.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_beginnings_are_found_and_the_last_of_equals_counts() {
        let texts = ["a", "abc", "ab", "b", "ab", "toolong"];
        let texts = texts.iter().zip(0..).map(|(text, id)| (text.as_bytes().to_vec(), id));
        let prefixes = Prefixes::new(texts, 3);
        let found = |text: &str| prefixes.of(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(found("abcd"), [(1, 0), (2, 4), (3, 1)]);
        assert_eq!(found("abd"), [(1, 0), (2, 4)]);
        assert_eq!(found("ba"), [(1, 3)]);
        assert_eq!(found("toolong"), []);
        assert_eq!(found(""), []);
    }
}
