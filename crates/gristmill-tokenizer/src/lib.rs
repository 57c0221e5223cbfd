//! Text to token ids and back, from every tokenizer file and from GGUF keys.
//!
//! A model's tokenizer comes in many dresses: Hugging Face's tokenizer.json, SentencePiece's tokenizer.model, GPT-2's
//! vocab.json with merges.txt, the `tokenizer.*` keys of a GGUF file, the bare list of texts in a legacy ggml file.
//! All become one [`Tokenizer`]. Hugging Face's `tokenizers` crate does the work, fed with what each file carries;
//! only SentencePiece's BPE is our own, because ranks of pairs cannot say exactly what scores of pieces say.
//!
//! ```text
//! tokenizer.json ────┐                      ┌─▶ encode ─▶ [TokenId] ─▶ the model
//! tokenizer.model ───┤ load  ┌───────────┐  │
//! vocab + merges ────┼──────▶│ Tokenizer │──┼─▶ decode, TextStream ─▶ text
//! GGUF keys ─────────┤       └───────────┘  │
//! legacy vocabulary ─┘                      ├─▶ to_metadata ─▶ a GGUF file that stands alone
//!                                          └─▶ to_files ─▶ a folder for other programs
//! ```
//!
//! ```
//! use gristmill_tensor::Metadata;
//! use gristmill_tokenizer::{EncodeOptions, Tokenizer};
//!
//! let mut metadata = Metadata::new("example");
//! metadata.set("tokenizer.ggml.model", "gpt2");
//! metadata.set("tokenizer.ggml.pre", "gpt-2");
//! let tokens = ["h", "e", "l", "o", "Ġ", "he", "ll", "hell"].map(String::from);
//! metadata.set("tokenizer.ggml.tokens", tokens.to_vec());
//! let merges = ["h e", "l l", "he ll"].map(String::from);
//! metadata.set("tokenizer.ggml.merges", merges.to_vec());
//!
//! let tokenizer = Tokenizer::from_metadata(&metadata)?;
//! let ids = tokenizer.encode("hello hell", EncodeOptions::default())?;
//! assert_eq!(ids, [7, 3, 4, 7]);
//! assert_eq!(tokenizer.decode(&ids, true), "hello hell");
//! # Ok::<(), gristmill_tokenizer::Error>(())
//! ```
//!
//! Reading order: `tokenizer`, `vocab`, `special`, `scheme` (what is built for each kind), `normalize`, `pre` and
//! `pre_table` (how words are cut), `spm` and `merges`, `longest`, `squares` and `prefixes` (how legacy vocabularies were
//! applied), `encoder`; then `load/*`, `legacy`, `known`, `save` and `files/*`, which know the files; `matching`, `stream`.
#![forbid(unsafe_code)]

mod byte_level;
mod charsmap;
mod encoder;
mod error;
mod files;
mod known;
mod legacy;
mod load;
mod longest;
mod matching;
mod merges;
mod normalize;
mod pre;
mod pre_table;
mod prefixes;
mod save;
mod scheme;
mod special;
mod spm;
mod squares;
mod stream;
mod tokenizer;
mod vocab;

pub use error::{Error, Note, Result};
pub use stream::TextStream;
pub use tokenizer::{EncodeOptions, Tokenizer};

/// The number of a token: a row of the embedding.
pub type TokenId = u32;
