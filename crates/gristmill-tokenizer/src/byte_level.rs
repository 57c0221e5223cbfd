//! The alphabet of byte-level BPE: every byte as one printable character.
//!
//! GPT-2 wanted merges over arbitrary bytes stored in a text file, so it gave each byte a character: printable Latin-1
//! stands for itself, the other 68 bytes take U+0100 upwards in order (space becomes `Ġ`, newline `Ċ`).

/// The character that stands for `byte`.
pub(crate) fn char_of(byte: u8) -> char {
    let shifted = match byte {
        0..=32 => 0x100 + u32::from(byte),
        127..=160 => 0x100 + 33 + u32::from(byte) - 127,
        173 => 0x100 + 67,
        _ => u32::from(byte),
    };
    char::from_u32(shifted).expect("all of these are below the surrogates")
}

/// The byte that `char` stands for.
pub(crate) fn byte_of(char: char) -> Option<u8> {
    let byte = match u32::from(char) {
        code @ (33..=126 | 161..=172 | 174..=255) => code,
        code @ 0x100..=0x120 => code - 0x100,
        code @ 0x121..=0x142 => code - 0x121 + 127,
        0x143 => 173,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// `bytes` in the alphabet.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char_of(byte)).collect()
}

/// The bytes that `text` stands for. Text outside the alphabet stands for itself, as Hugging Face's decoder has it.
pub(crate) fn to_bytes(text: &str) -> Vec<u8> {
    text.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let text = to_text(&(0..=255).collect::<Vec<u8>>());
        assert_eq!(to_bytes(&text), (0..=255).collect::<Vec<u8>>());
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        assert_eq!(char_of(0xad), '\u{143}');
    }

    #[test]
    fn text_outside_the_alphabet_stands_for_itself() {
        assert_eq!(to_bytes("a b"), b"a b");
        assert_eq!(to_bytes("日"), "日".as_bytes());
    }
}
