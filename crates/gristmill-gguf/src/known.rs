//! Keys whose meaning GGUF itself fixes, checked before anybody computes with them.
//!
//! Their types, and the agreement of the vocabulary's lists with each other and with the embedding: an id from a
//! longer list would index past a shorter one. What belongs to one architecture (widths, heads) is checked by those
//! who know architectures: a Mamba file rightly says that it has no attention heads.

use gristmill_tensor::{Error, MetaArray, MetaValue, Metadata, Result, TensorInfo, keys};

use crate::FORMAT;

const TEXTS: &[&str] = &[
    keys::ARCHITECTURE,
    keys::NAME,
    keys::TOKENIZER_MODEL,
    keys::TOKENIZER_PRE,
    keys::TOKENIZER_HF_JSON,
    keys::CHAT_TEMPLATE,
];

const COUNTS: &[&str] = &[
    keys::FILE_TYPE,
    keys::QUANTIZATION_VERSION,
    keys::TOKENIZER_BOS_ID,
    keys::TOKENIZER_EOS_ID,
    keys::TOKENIZER_EOT_ID,
    keys::TOKENIZER_UNK_ID,
    keys::TOKENIZER_PAD_ID,
    keys::SPLIT_NO,
    keys::SPLIT_COUNT,
    keys::SPLIT_TENSORS_COUNT,
];

const BOOLS: &[&str] =
    &[keys::TOKENIZER_ADD_BOS, keys::TOKENIZER_ADD_EOS, keys::TOKENIZER_ADD_SPACE_PREFIX];

/// llama.cpp keeps its layers in arrays of this length.
const MAX_BLOCKS: usize = 512;

/// Refuses known keys of the wrong type and lists that do not agree.
pub(crate) fn check<'a>(
    metadata: &Metadata,
    tensors: impl IntoIterator<Item = &'a TensorInfo>,
) -> Result<()> {
    for key in TEXTS {
        metadata.get_str(key)?;
    }
    for key in COUNTS {
        metadata.get_u32(key)?;
    }
    for key in BOOLS {
        metadata.get_bool(key)?;
    }
    if let Some(architecture) = metadata.get_str(keys::ARCHITECTURE)? {
        let key = keys::arch(architecture, keys::BLOCK_COUNT);
        let n_layer = metadata.get_usize(&key)?;
        if n_layer.is_some_and(|n| !(1..=MAX_BLOCKS).contains(&n)) {
            return Err(malformed(metadata, format!("{key} is not between 1 and {MAX_BLOCKS}")));
        }
    }
    let embedding = tensors.into_iter().find(|info| info.name == "token_embd.weight");
    vocabulary(metadata, embedding.map(|info| info.shape.rows()))
}

fn vocabulary(metadata: &Metadata, embedding_rows: Option<usize>) -> Result<()> {
    metadata.get_f32s(keys::TOKENIZER_SCORES)?;
    metadata.get_i32s(keys::TOKENIZER_TOKEN_TYPE)?;
    strings(metadata, keys::TOKENIZER_MERGES)?;
    let Some(tokens) = strings(metadata, keys::TOKENIZER_TOKENS)? else { return Ok(()) };
    for key in [keys::TOKENIZER_SCORES, keys::TOKENIZER_TOKEN_TYPE] {
        let Some(list) = metadata.get(key).and_then(MetaValue::as_array) else { continue };
        if list.len() != tokens.len() {
            let what = format!("{key} has {} values for {} tokens", list.len(), tokens.len());
            return Err(malformed(metadata, what));
        }
    }
    // Fewer tokens than rows are common (the embedding is padded) and harmless.
    match embedding_rows {
        Some(rows) if tokens.len() > rows => Err(malformed(
            metadata,
            format!("{} tokens share token_embd.weight of {rows} rows", tokens.len()),
        )),
        _ => Ok(()),
    }
}

fn strings<'a>(metadata: &'a Metadata, key: &str) -> Result<Option<&'a MetaArray>> {
    match metadata.get(key) {
        None => Ok(None),
        Some(MetaValue::Array(list @ (MetaArray::String(_) | MetaArray::Bytes(_)))) => {
            Ok(Some(list))
        }
        Some(other) => {
            let what = format!("{key} should be a list of strings but is {}", other.type_name());
            Err(malformed(metadata, what))
        }
    }
}

fn malformed(metadata: &Metadata, what: String) -> Error {
    Error::malformed(metadata.origin(), FORMAT, 0, what)
}
