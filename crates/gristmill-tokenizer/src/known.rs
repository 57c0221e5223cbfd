//! Byte-level vocabularies that are known by their tokens, so that merges recovered from the order of ids are exact.
//!
//! Legacy files have texts alone. For the vocabularies below, recovery was compared with the published merges and gave
//! all of them, in their order. Models may pad a vocabulary, so only its own tokens count.

use crate::byte_level;
use crate::vocab::{Kind, Vocab};

/// A vocabulary that many models share.
pub(crate) struct Known {
    /// The models that have it, for people.
    pub(crate) name: &'static str,
    /// How words are cut, by GGUF's name.
    pub(crate) pre: &'static str,
    n_tokens: usize,
    crc: u32,
}

const KNOWN: [Known; 1] = [Known {
    name: "GPT-2 (also GPT-J, GPT4All-J and Cerebras-GPT)",
    pre: "gpt-2",
    n_tokens: 50257,
    crc: 0x4d31_1b9e,
}];

/// The known vocabulary that this one starts with.
pub(crate) fn find(vocab: &Vocab) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|known| vocab.len() >= known.n_tokens && crc(vocab, known.n_tokens) == known.crc)
}

/// The CRC-32 of the first tokens' bytes, each with its length (32 bits, little-endian) in front.
fn crc(vocab: &Vocab, n_tokens: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for (_, token) in vocab.iter().take(n_tokens) {
        let bytes = match token.kind {
            Kind::Normal => byte_level::to_bytes(&token.text),
            _ => token.text.as_bytes().to_vec(),
        };
        hasher.update(&(bytes.len() as u32).to_le_bytes());
        hasher.update(&bytes);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_over_lengths_and_bytes_of_the_first_tokens() {
        let pairs = [("Ġa", 0), ("<|endoftext|>", 1), ("b", 2)];
        let pairs = pairs.map(|(text, id)| (text.to_owned(), id)).to_vec();
        let vocab = Vocab::from_pairs("test", "vocab", pairs).unwrap();
        let expected = crc32fast::hash(b"\x02\0\0\0 a\x0d\0\0\0<|endoftext|>");
        assert_eq!(crc(&vocab, 2), expected);
        assert_ne!(crc(&vocab, 3), expected);
        assert!(find(&vocab).is_none());
    }
}
