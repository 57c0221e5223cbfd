//! What can be wrong with a graph: always a disagreement between an architecture and a model's weights.

/// A graph and its weights do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph names a weight that the model does not have.
    #[error("tensor {name} is missing")]
    MissingWeight {
        /// The full name, `blk.0.attn_q.weight`.
        name: String,
    },
    /// A weight's shape does not fit where it is used.
    #[error("tensor {name} has shape {found:?} where {expected} is needed")]
    WrongShape {
        /// The full name.
        name: String,
        /// The shape that would fit, in words.
        expected: String,
        /// Its shape, outermost first.
        found: Vec<usize>,
    },
    /// An operation is given values of widths that do not fit.
    #[error("{op}: {what}")]
    WrongWidth {
        /// The operation.
        op: &'static str,
        /// What does not fit.
        what: String,
    },
    /// The model has weights that the graph does not use: it is of another make than the architecture describes.
    #[error("the model has tensors that its architecture does not use: {}", names.join(", "))]
    Unused {
        /// Some of their names.
        names: Vec<String>,
    },
}

/// The result of building a graph.
pub type Result<T> = std::result::Result<T, Error>;
