//! What GPT-J, LLaMA, MPT and their kin are: hyperparameters, weight names, graph.
//!
//! An [`Architecture`] is one file of this crate: prose with the equations, a table of configuration keys, a table of
//! weight names, and the forward pass, which reads like its paper. Nothing else in the house tells one architecture
//! from another. To add one, write its file and its line in [`ARCHITECTURES`].
//!
//! ```text
//! config.json ─from_config─▶ Architecture ─configure─▶ Metadata ┐
//! names in the wild ─match_weight─▶ house names ────────────────┴─▶ Checkpoint ─program─▶ Hparams, Program
//! ```
//!
//! ```
//! use gristmill_arch::{Config, Dialect, from_config, match_weight};
//! use gristmill_tensor::Metadata;
//!
//! let config = serde_json::json!({
//!     "model_type": "gptj", "n_embd": 4096, "n_head": 16, "n_layer": 28, "rotary_dim": 64,
//! });
//! let arch = from_config(&config, "config.json")?;
//! let mut metadata = Metadata::new("config.json");
//! arch.configure(&Config::new(&config, "config.json"), &mut metadata)?;
//! assert_eq!(metadata.get_usize("gptj.feed_forward_length")?, Some(16384));
//!
//! let weight = match_weight(arch, Dialect::HuggingFace, "transformer.h.3.mlp.fc_in.weight").unwrap();
//! assert_eq!(weight.name, "blk.3.ffn_up.weight");
//! # Ok::<(), gristmill_arch::Error>(())
//! ```
//!
//! Reading order: `gptj`, `llama` and `mpt`, since they are what it is all for (`gpt2`, `gptneox`, `bloom` and `falcon`
//! are variations on them); then `architecture`, `config`,
//! `describe`, `weights`, `transform`, `hparams`, `rope`, `program` and `error`.
#![forbid(unsafe_code)]

mod architecture;
mod bloom;
mod config;
mod describe;
mod error;
mod falcon;
mod gpt2;
mod gptj;
mod gptneox;
mod hparams;
mod llama;
mod mpt;
mod program;
mod rope;
mod transform;
mod weights;

pub use architecture::{
    ARCHITECTURES, Architecture, architecture_of, find, from_config, ggml_headers, is_ggml_tensor,
};
pub use config::{Config, ConfigKey};
pub use describe::{Description, describe};
pub use error::{Error, Result};
pub use hparams::Hparams;
pub use program::program;
pub use rope::RopeScaling;
pub use transform::{Direction, Heads, Projection, Transform, source_rows};
pub use weights::{
    Dialect, Matched, Role, Spelling, WeightRule, has_own_name, is_ignored, match_weight, role_of,
    spell,
};
