//! The vocabulary of a transformer: what a model computes, without a word on how.
//!
//! A [`Graph`] is given the names and shapes of a model's weights. An architecture then writes its forward pass with
//! [`Var`]s, one line of the paper per line of code, and [`Graph::finish`] checks it and gives a [`Program`] that an
//! executor runs. The cache, masks, buffers and threads belong to the executor and cannot be mentioned here.
//!
//! ```text
//! weights' names and shapes ─Graph::new─▶ Graph ─Var methods─▶ … ─finish─▶ Program ─▶ an executor
//! ```
//!
//! Every activation is a matrix of `n_tokens` rows, so a [`Var`] needs only its width, and widths are checked while
//! the graph is built.
//!
//! ```
//! use gristmill_graph::Graph;
//!
//! let graph = Graph::new([
//!     ("token_embd.weight".to_string(), vec![100, 8]),
//!     ("ffn_up.weight".to_string(), vec![32, 8]),
//!     ("ffn_down.weight".to_string(), vec![8, 32]),
//! ]);
//! let x = graph.tokens().embed("token_embd");
//! let y = x + x.linear("ffn_up").silu().linear("ffn_down");
//! let logits = y.linear("token_embd").id();
//! let program = graph.finish(logits)?;
//! assert_eq!(program.width(program.logits), 100);
//! # Ok::<(), gristmill_graph::Error>(())
//! ```
//!
//! Reading order: `op` (the closed list of operations), `graph` (the builder), `program` (what is built).
#![forbid(unsafe_code)]

mod error;
mod graph;
mod op;
mod program;

pub use error::{Error, Result};
pub use graph::{Graph, Var};
pub use op::{Attention, Gelu, Op, Rope, RopeStyle};
pub use program::{Node, NodeId, Program, WeightDecl, WeightId};
