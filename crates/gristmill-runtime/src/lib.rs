//! Binds a graph to weights and runs it: plan, KV cache, session, samplers.
//!
//! A [`Model`] is a program with its weights and never changes; whatever changes lives in a [`Session`]. A session is
//! fed tokens, one or many, and gives logits; a [`Sampler`] chooses a token from them.
//!
//! ```text
//! Program ┐                  ┌─ Session ─feed(tokens)─▶ logits ─Sampler─▶ token ─┐
//!         ├─ bind ─▶ Model ──┤              ▲                                    │
//! weights ┘          (Arc)   └─ Session …   └────────────────────────────────────┘
//! ```
//!
//! ```
//! use std::sync::Arc;
//!
//! use gristmill_graph::Graph;
//! use gristmill_runtime::{Chain, Model, SamplerOptions, Session, SessionOptions};
//! use gristmill_tensor::{DType, Metadata, TensorInfo};
//! use gristmill_testkit::MemoryCheckpoint;
//!
//! // A "model" that says every token's own number is the likeliest to follow: the identity.
//! let one: Vec<u8> = (0..9).flat_map(|i| f32::from(u8::from(i % 4 == 0)).to_le_bytes()).collect();
//! let info = TensorInfo::new("token_embd.weight", DType::F32, [3, 3]);
//! let weights = MemoryCheckpoint::new("identity", Metadata::new("identity"), [(info, one)]);
//!
//! let graph = Graph::new([("token_embd.weight".to_string(), vec![3, 3])]);
//! let logits = graph.tokens().embed("token_embd").linear("token_embd").id();
//! let model = Arc::new(Model::bind(graph.finish(logits)?, &weights)?);
//!
//! let mut session = Session::new(model, SessionOptions { n_ctx: 8, ..SessionOptions::default() })?;
//! assert_eq!(session.feed(&[0, 2])?, [0.0, 0.0, 1.0]);
//!
//! let mut greedy = Chain::new(SamplerOptions { temp: 0.0, ..SamplerOptions::default() });
//! let text: Vec<u32> = session.generate(&mut greedy, &[1]).take(3).collect::<Result<_, _>>()?;
//! assert_eq!(text, [1, 1, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: `model`, `session`, `generate`; `plan` (what is decided once) and `execute` (what is done for each
//! batch); `sampler` and its rules; `cores` and `error`.
#![forbid(unsafe_code)]

mod cores;
mod error;
mod execute;
mod generate;
mod model;
mod plan;
mod sampler;
mod session;

pub use cores::Cores;
pub use error::{Error, Result};
pub use generate::Generate;
pub use gristmill_kernels::CacheType;
pub use model::{Model, Residence};
pub use sampler::{Chain, Sampler, SamplerOptions};
pub use session::{Session, SessionOptions, Timings, feed_together};

/// The number of a token in its vocabulary.
pub type TokenId = u32;
