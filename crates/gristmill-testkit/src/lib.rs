//! What gristmill's own tests are made of; no user needs it.
//!
//! [`tiny`] makes a whole model of a few kilobytes from a seed, as a checkpoint in memory under Hugging Face's names,
//! with its `config.json` and `tokenizer.json`. [`compare`] holds floats against each other, [`corrupt`] damages
//! files, [`golden`] keeps texts, [`heap`] counts memory, [`oracle`] finds other people's files.
//!
//! ```
//! use gristmill_tensor::Checkpoint;
//! use gristmill_testkit::{Options, tiny};
//!
//! let model = tiny("gptj", &Options::default());
//! assert!(model.checkpoint.find("transformer.h.0.attn.q_proj.weight").is_some());
//! assert!(model.config.contains("\"model_type\": \"gptj\""));
//! ```
pub mod compare;
pub mod corrupt;
pub mod golden;
pub mod heap;
mod memory;
mod oracle;
mod rng;
mod tiny;
mod tokenizer;

pub use memory::MemoryCheckpoint;
pub use oracle::oracle;
pub use rng::Rng;
pub use tiny::{Options, Tiny, tiny};
