//! The vocabulary: for each token its length, its bytes and, in some containers, its score.
//!
//! Texts are handed on in the convention of the file, as bytes: pieces of LLaMA's tokenizer with plain blanks, tokens
//! of GPT-2's as the bytes they stand for. Whoever tokenizes knows these conventions.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use gristmill_tensor::{Cursor, MetaArray, MetaValue, Metadata, Result, Vocabulary, keys};

/// No token is longer. Some have a few hundred blanks; more is a sign that something else stands here.
pub(crate) const MAX_TOKEN_BYTES: u32 = 4096;

/// Marks special tokens in the lengths of GPT4All's MPT files.
pub(crate) const SPECIAL: u32 = 1 << 31;

/// The tokens of a file.
pub(crate) struct Vocab {
    pub(crate) texts: Vec<Vec<u8>>,
    pub(crate) scores: Vec<f32>,
}

/// Reads at most `n_vocab` tokens; fewer where `is_record` says that a tensor begins: some tools wrote the number of
/// rows of the embedding and fewer tokens, or none.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    n_vocab: u32,
    convention: Vocabulary,
    has_scores: bool,
    is_record: impl Fn(&mut Cursor<'_>) -> bool,
) -> Result<Vocab> {
    // Every token takes at least its length, so nothing is reserved that the file could not hold.
    let capacity = cursor.remaining().div_euclid(4).min(u64::from(n_vocab)) as usize;
    let mut vocab = Vocab { texts: Vec::with_capacity(capacity), scores: Vec::new() };
    for id in 0..n_vocab {
        let at = cursor.position();
        if is_record(cursor) {
            break;
        }
        let len = cursor.u32()?;
        let len = if convention == Vocabulary::Marked { len & !SPECIAL } else { len };
        if len > MAX_TOKEN_BYTES {
            let what =
                format!("token {id} would have {len} bytes; at most {MAX_TOKEN_BYTES} are read");
            return Err(cursor.malformed_at(at, what));
        }
        vocab.texts.push(cursor.bytes(len.into())?.to_vec());
        if has_scores {
            vocab.scores.push(cursor.f32()?);
        }
    }
    if convention == Vocabulary::Latin1 {
        undo_latin1(&mut vocab.texts);
    }
    Ok(vocab)
}

/// Reads the merges behind the tokens: their number once more, then pairs of texts.
pub(crate) fn read_merges(
    cursor: &mut Cursor<'_>,
    n_merges: u32,
    metadata: &mut Metadata,
) -> Result<()> {
    let at = cursor.position();
    let again = cursor.u32()?;
    if again != n_merges {
        return Err(
            cursor.malformed_at(at, format!("there would be {n_merges} merges and {again} merges"))
        );
    }
    let mut merges = Vec::new();
    for _ in 0..n_merges {
        let mut part = || {
            let len = cursor.u32()?;
            let text = cursor.text("a part of a merge", len.into(), MAX_TOKEN_BYTES.into())?;
            // A blank parts the two under GGUF's key, so one inside is written as llama.cpp writes it.
            Ok(text.replace(' ', "\u{120}"))
        };
        let (left, right): (String, String) = (part()?, part()?);
        merges.push(format!("{left} {right}"));
    }
    if !merges.is_empty() {
        metadata.set(keys::TOKENIZER_MERGES, merges);
    }
    Ok(())
}

/// Takes back that each byte was written as the UTF-8 form of a character, if it was: other tools of the time wrote
/// text, in which characters beyond Latin-1 occur.
fn undo_latin1(texts: &mut [Vec<u8>]) {
    let decode = |text: &Vec<u8>| {
        let characters = str::from_utf8(text).ok()?.chars();
        characters.map(|character| u8::try_from(u32::from(character)).ok()).collect()
    };
    if let Some(decoded) = texts.iter().map(decode).collect::<Option<Vec<Vec<u8>>>>() {
        texts.iter_mut().zip(decoded).for_each(|(text, decoded)| *text = decoded);
    }
}

impl Vocab {
    /// Puts the tokens under GGUF's keys. Without tokens there is nothing to put.
    pub(crate) fn describe(self, convention: Vocabulary, metadata: &mut Metadata) {
        if self.texts.is_empty() {
            return;
        }
        let pieces = convention == Vocabulary::SentencePiece;
        metadata.set(keys::TOKENIZER_MODEL, if pieces { "llama" } else { "gpt2" });
        let texts = match self.texts.iter().all(|text| str::from_utf8(text).is_ok()) {
            true => MetaArray::String(self.texts.into_iter().flat_map(String::from_utf8).collect()),
            false => MetaArray::Bytes(self.texts),
        };
        metadata.set(keys::TOKENIZER_TOKENS, MetaValue::Array(texts));
        // Byte-level tokens have no scores; containers that demand some hold zeros.
        if pieces && !self.scores.is_empty() {
            metadata.set(keys::TOKENIZER_SCORES, self.scores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_written_as_characters_become_bytes_again() {
        let mut texts = vec![b"a".to_vec(), "\u{e2}\u{80}".into()];
        undo_latin1(&mut texts);
        assert_eq!(texts, [b"a".to_vec(), vec![0xe2, 0x80]]);
    }

    #[test]
    fn text_stays_text() {
        let mut texts = vec!["é".into(), "\u{fffd}".into()];
        undo_latin1(&mut texts);
        assert_eq!(texts, ["é".as_bytes(), "\u{fffd}".as_bytes()]);
    }
}
