//! Proof that a model file is right: how well a model predicts a text, measured as others measure it, so that the
//! figures can be laid side by side.
//!
//! [`perplexity`] runs a [`Session`](gristmill_runtime::Session) over a text's tokens in [`Windows`]: either
//! llama-perplexity's chunks or Hugging Face's sliding window.
//!
//! ```
//! use gristmill_verify::{Score, Windows};
//!
//! // Three tokens that the model gave probabilities 1/2, 1/4 and 1/8: as uncertain as a choice among four.
//! let mut score = Score::default();
//! for probability in [0.5f64, 0.25, 0.125] {
//!     score.add(-probability.ln());
//! }
//! assert!((score.perplexity() - 4.0).abs() < 1e-12);
//! assert_eq!(Windows::Halves { bos: None }.spans(1024, 512).len(), 2);
//! ```
//!
//! Reading order: `score`, `windows`, `perplexity`.
#![forbid(unsafe_code)]

mod perplexity;
mod score;
mod windows;

pub use perplexity::{Error, Result, perplexity};
pub use score::Score;
pub use windows::{Span, Windows};
