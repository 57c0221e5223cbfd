//! Readers of tokenizer files: each gives a finished [`Tokenizer`](crate::Tokenizer).

mod config;
mod folder;
mod gguf;
mod json;
mod json_file;
mod json_shape;
mod sentencepiece;
mod vocab_merges;

pub(crate) use folder::{from_folder, from_path};
pub(crate) use gguf::from_metadata;
pub(crate) use sentencepiece::to_bytes as sentencepiece_bytes;
