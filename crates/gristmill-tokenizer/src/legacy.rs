//! Vocabularies of legacy ggml files, which have texts (and perhaps scores) but no kinds.
//!
//! LLaMA's converters wrote SentencePiece pieces decoded: the unknown piece as ` ⁇ `, control pieces empty, byte
//! pieces as their one byte, blanks plain. GPT-2's descendants wrote the decoded bytes of each token. Both are turned back
//! into the form that GGUF and Hugging Face have. Pieces that are in that form already stay as they are.

use crate::TokenId;
use crate::byte_level;
use crate::scheme::BLANK;
use crate::vocab::{Kind, byte_piece};

/// How U+FFFD, which some converters wrote for bytes that are no character by themselves, looks in the byte-level
/// alphabet.
pub(crate) const MANGLED: &str = "\u{ef}\u{bf}\u{bd}";

/// Whether these byte-level texts are decoded bytes rather than letters of the byte-level alphabet, which has no blank.
pub(crate) fn is_raw(texts: &[&[u8]]) -> bool {
    let has_blank = |text: &&[u8]| text.contains(&b' ');
    let has_letter = |text: &&[u8]| text.windows(2).any(|pair| pair == "Ġ".as_bytes());
    texts.iter().any(|text| str::from_utf8(text).is_err())
        || (texts.iter().any(has_blank) && !texts.iter().any(has_letter))
}

/// A token of a byte-level vocabulary.
pub(crate) fn byte_level_piece(text: &[u8], raw: bool) -> (String, Kind) {
    let named = text.len() > 4 && text.starts_with(b"<|") && text.ends_with(b"|>");
    let kind = if named { Kind::Control } else { Kind::Normal };
    if raw && !named {
        return (byte_level::to_text(text), kind);
    }
    (String::from_utf8_lossy(text).into_owned(), kind)
}

/// A piece of a SentencePiece vocabulary with LLaMA's conventions.
pub(crate) fn sentencepiece_piece(id: TokenId, text: &[u8]) -> (String, Kind) {
    match (id, text) {
        (0, b" \xe2\x81\x87 " | b"<unk>" | b"") => return ("<unk>".to_owned(), Kind::Unknown),
        (1, b"" | b"<s>") => return ("<s>".to_owned(), Kind::Control),
        (2, b"" | b"</s>") => return ("</s>".to_owned(), Kind::Control),
        (_, b"") => return (String::new(), Kind::Control),
        (3..=258, [byte]) => return (format!("<0x{byte:02X}>"), Kind::Byte),
        _ => {}
    }
    let text = String::from_utf8_lossy(text).replace(' ', BLANK);
    let kind = if byte_piece(&text).is_some() { Kind::Byte } else { Kind::Normal };
    (text, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_pieces_get_their_names_back() {
        assert_eq!(sentencepiece_piece(0, " ⁇ ".as_bytes()), ("<unk>".to_owned(), Kind::Unknown));
        assert_eq!(sentencepiece_piece(2, b""), ("</s>".to_owned(), Kind::Control));
        assert_eq!(sentencepiece_piece(3, &[0]), ("<0x00>".to_owned(), Kind::Byte));
        assert_eq!(sentencepiece_piece(258, &[0xff]), ("<0xFF>".to_owned(), Kind::Byte));
        assert_eq!(sentencepiece_piece(300, b" a"), ("▁a".to_owned(), Kind::Normal));
        assert_eq!(sentencepiece_piece(259, b"x"), ("x".to_owned(), Kind::Normal));
    }

    #[test]
    fn raw_bytes_are_told_from_letters() {
        assert!(is_raw(&[b"a", &[0xff]]));
        assert!(is_raw(&[b" the"]));
        assert!(!is_raw(&["Ġthe".as_bytes(), b"a b"]));
        assert!(!is_raw(&[b"a", b"b"]));
    }
}
