//! A vocabulary as legacy ggml files have it: the bytes of each token, one for every row of the embedding.
//!
//! LLaMA's files write the unknown piece as ` ⁇ ` and control pieces as nothing. In the files of GPT-2's descendants
//! special tokens stand as they are spelled. Rows without a token get a text that no other has.

use gristmill_tensor::{MetaArray, MetaValue, Metadata, keys};
use gristmill_tokenizer::Tokenizer;

use crate::Result;

/// The numbers of kinds in `tokenizer.ggml.token_type`.
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;

/// Replaces the texts of the vocabulary by those of the legacy convention. Without a vocabulary nothing happens.
pub(crate) fn make_legacy(n_vocab: usize, metadata: &mut Metadata) -> Result<()> {
    if !metadata.contains(keys::TOKENIZER_TOKENS) {
        return Ok(());
    }
    let tokenizer = Tokenizer::from_metadata(metadata)?;
    tokenizer.to_metadata(n_vocab, metadata)?;
    let pieces = metadata.get_str(keys::TOKENIZER_MODEL)? != Some("gpt2");
    let kinds = metadata.get_i32s(keys::TOKENIZER_TOKEN_TYPE)?.unwrap_or_default();
    let texts = metadata.get_strings(keys::TOKENIZER_TOKENS)?.unwrap_or_default();
    let legacy = texts.iter().zip(0..).map(|(text, id)| match kinds.get(id as usize) {
        Some(&UNKNOWN) if pieces && id == 0 => " \u{2047} ".into(),
        Some(&CONTROL) if pieces => Vec::new(),
        Some(&UNUSED) => text.clone().into_bytes(),
        _ => tokenizer.token_bytes(id),
    });
    let legacy: Vec<Vec<u8>> = legacy.collect();
    metadata.set(keys::TOKENIZER_TOKENS, MetaValue::Array(MetaArray::Bytes(legacy)));
    Ok(())
}
