//! What can be wrong with running a model: its weights, the request, or the machine's memory.

use crate::TokenId;

/// A model cannot be bound, or a session cannot do what is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A weight cannot be read or has no arithmetic.
    #[error(transparent)]
    Tensor(#[from] gristmill_tensor::Error),
    /// A weight has another shape in the file than in the program: they do not belong together.
    #[error("{file}: tensor {tensor} has shape {found:?} where the program says {expected:?}")]
    Shape {
        /// The checkpoint.
        file: String,
        /// The weight.
        tensor: String,
        /// The program's shape, outermost first.
        expected: Vec<usize>,
        /// The file's.
        found: Vec<usize>,
    },
    /// The program computes something from token ids or positions other than looking them up, or looks up something
    /// else.
    #[error("the program cannot be run: node {node} ({op}): {what}")]
    Program {
        /// The number of the node.
        node: usize,
        /// Its operation.
        op: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The tokens do not fit in what is left of the context.
    #[error(
        "{n_tokens} more tokens do not fit: the context holds {n_ctx} and {n_past} are in it; \
         make it longer or rewind it"
    )]
    ContextFull {
        /// The length of the context.
        n_ctx: usize,
        /// Tokens in it.
        n_past: usize,
        /// Tokens that were to be fed.
        n_tokens: usize,
    },
    /// A token that the model does not have.
    #[error("there is no token {id}: the model has {n_vocab}")]
    TokenOutOfRange {
        /// The token.
        id: TokenId,
        /// The number of tokens.
        n_vocab: usize,
    },
    /// Nothing was fed.
    #[error("there are no tokens to feed; begin with the token that begins a text")]
    NoTokens,
    /// Sessions that cannot be fed together.
    #[error("sessions fed together are of one model, and get one token each")]
    NotTogether,
    /// A context longer than can be.
    #[error("a context of {n_ctx} tokens is too long: {reason} {limit}")]
    ContextTooLong {
        /// The length asked for.
        n_ctx: usize,
        /// What sets the limit.
        reason: &'static str,
        /// The longest.
        limit: usize,
    },
    /// The machine has no memory for copies of the weights.
    #[error("there is no memory for a copy of {n_bytes} bytes of weights; use them in place")]
    NoMemory {
        /// Bytes to be copied.
        n_bytes: usize,
    },
    /// The machine has no memory for the cache of keys and values.
    #[error(
        "there is no memory for the keys and values of {n_tokens} tokens; use a shorter context"
    )]
    OutOfMemory {
        /// Tokens to be cached.
        n_tokens: usize,
    },
}

/// The result of binding and running.
pub type Result<T> = std::result::Result<T, Error>;
