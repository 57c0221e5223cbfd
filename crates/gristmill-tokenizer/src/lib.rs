//! Text to token ids and back, from every tokenizer file and from GGUF keys.
mod byte_level;
mod encoder;
mod error;
mod pre;
mod pre_table;
mod special;
mod spm;
mod vocab;
pub use error::{Error, Note, Result};
/// The number of a token; row of the embedding.
pub type TokenId = u32;
