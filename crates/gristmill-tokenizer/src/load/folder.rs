//! A model folder, or one file of it: finds the tokenizer.

use std::path::Path;

use gristmill_tensor::Limits;

use super::config::{Config, read_bytes, read_text};
use super::{json, sentencepiece, vocab_merges};
use crate::{Error, Result, Tokenizer};

/// The tokenizer of a folder or of a single file, which its first byte tells: JSON starts with a brace, SentencePiece's
/// protobuf with the key of a piece.
pub(crate) fn from_path(path: &Path, limits: &Limits) -> Result<Tokenizer> {
    if path.is_dir() {
        return from_folder(path, limits);
    }
    let config = Config::read(path.parent().unwrap_or(Path::new("")), limits)?;
    let file = path.display().to_string();
    let bytes = read_bytes(path, limits.header_bytes)?.ok_or_else(|| Error::Missing {
        place: file.clone(),
        looked_for: "a folder or file of this name".to_owned(),
        cure: "name the folder, the tokenizer.json or the tokenizer.model of the original model"
            .to_owned(),
    })?;
    if bytes.trim_ascii_start().starts_with(b"{") {
        let text = read_text(path, limits)?.unwrap_or_default();
        return json::from_file(path, text, &config, None);
    }
    Limits::check(&file, "the size in bytes", sentencepiece::MAX_BYTES, bytes.len() as u64)?;
    sentencepiece::from_bytes(path, &bytes, &config)
}

/// The tokenizer of a folder: tokenizer.json before tokenizer.model before vocab.json with merges.txt.
pub(crate) fn from_folder(folder: &Path, limits: &Limits) -> Result<Tokenizer> {
    let config = Config::read(folder, limits)?;
    let sentencepiece = folder.join("tokenizer.model");
    let pieces = read_bytes(&sentencepiece, sentencepiece::MAX_BYTES.min(limits.header_bytes));
    let path = folder.join("tokenizer.json");
    if let Some(text) = read_text(&path, limits)? {
        // Without a readable tokenizer.model the JSON still has all that encoding needs.
        let pieces = pieces.ok().flatten().and_then(|bytes| sentencepiece::pieces(&bytes));
        return json::from_file(&path, text, &config, pieces.as_deref());
    }
    if let Some(bytes) = pieces? {
        return sentencepiece::from_bytes(&sentencepiece, &bytes, &config);
    }
    if let Some(tokenizer) = vocab_merges::from_folder(folder, &config, limits)? {
        return Ok(tokenizer);
    }
    Err(Error::Missing {
        place: folder.display().to_string(),
        looked_for: "tokenizer.json, tokenizer.model, and vocab.json with merges.txt".to_owned(),
        cure: "copy them from the model's original repository into this folder".to_owned(),
    })
}
