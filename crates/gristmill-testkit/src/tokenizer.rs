//! A byte-level tokenizer of 288 tokens: all bytes, a few merges and one special token.

use std::fmt::Write;

/// Tokens in the vocabulary.
pub(crate) const N_VOCAB: usize = 288;

/// The special token, the last of the vocabulary.
const END: &str = "<|endoftext|>";

/// Pairs that are merged, most eager first; the halves are spelled as [`spell`] does.
const MERGES: &str = "Ġ t|h e|Ġ a|i n|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|e n|Ġ o|o u|i t|a n|Ġ c|i s|o r|e s|Ġ b|e d|\
                      in g|Ġ p|Ġa n|Ġ f|a l|l l|Ġan d|a r|Ġ m";

/// The character that stands for a byte in byte-level vocabularies (GPT-2): printable ones for themselves, the others
/// for the characters from U+0100 on.
fn spell(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return byte.into();
    }
    let nth = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(0x100 + nth).expect("there are no surrogates so low")
}

/// The text of `tokenizer.json`.
pub(crate) fn tokenizer_json() -> String {
    let bytes = (0..=255u8).map(|byte| spell(byte).to_string());
    let merged = MERGES.split('|').map(|pair| pair.replace(' ', ""));
    let mut vocab = String::new();
    for (id, token) in bytes.chain(merged).enumerate() {
        let token = token.replace('\\', "\\\\").replace('"', "\\\"");
        write!(vocab, "\"{token}\": {id}, ").expect("writing to a string never fails");
    }
    let end = N_VOCAB - 1;
    let merges = MERGES.replace('|', "\", \"");
    format!(
        r#"{{
  "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
  "added_tokens": [{{ "id": {end}, "content": "{END}", "single_word": false, "lstrip": false, "rstrip": false,
    "normalized": false, "special": true }}],
  "pre_tokenizer": {{ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }},
  "decoder": {{ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }},
  "model": {{ "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
    "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
    "vocab": {{ {vocab}"{END}": {end} }},
    "merges": ["{merges}"] }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spelled_as_gpt2_does() {
        assert_eq!(spell(b' '), 'Ġ');
        assert_eq!(spell(b'\n'), 'Ċ');
        assert_eq!(spell(b'a'), 'a');
        assert_eq!(spell(0xad), 'Ń');
        let mut all: Vec<char> = (0..=255).map(spell).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn the_vocabulary_is_full() {
        assert_eq!(256 + MERGES.split('|').count() + 1, N_VOCAB);
        assert!(tokenizer_json().contains("\"Ġthe\": 262, "));
    }
}
