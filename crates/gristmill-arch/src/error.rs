//! What can be wrong between a file and the architecture it claims to be.

/// What went wrong while understanding a model. Every variant names the file and the key or tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading the file failed.
    #[error(transparent)]
    File(#[from] gristmill_tensor::Error),
    /// The weights do not make the graph of the architecture.
    #[error("{file}: {source}")]
    Graph {
        /// The file or folder.
        file: String,
        /// The disagreement.
        source: gristmill_graph::Error,
    },
    /// The file is of an architecture that is not in the registry.
    #[error("{file}: {found} is not among the known architectures, which are {known}")]
    UnknownArchitecture {
        /// The file.
        file: String,
        /// What it says it is.
        found: String,
        /// Names that are understood, as users meet them.
        known: String,
    },
    /// A key that is needed is not there.
    #[error("{file}: {key} is missing; {hint}")]
    MissingKey {
        /// The file.
        file: String,
        /// The key; of several spellings, all of them.
        key: String,
        /// What to do about it.
        hint: String,
    },
    /// A value is of the wrong type, out of range, or contradicts another.
    #[error("{file}: {key} is {found}, but {rule}")]
    BadValue {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The value.
        found: String,
        /// What it breaks.
        rule: String,
    },
    /// The model may be right, but gristmill cannot run or convert it.
    #[error("{file}: {key} is {found}, which is not supported; {cure}")]
    Unsupported {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The value.
        found: String,
        /// What is supported, or what to do instead.
        cure: String,
    },
    /// A tensor that is needed is not there.
    #[error(
        "{file}: tensor {name} is missing; the checkpoint is incomplete, or not every shard was found"
    )]
    MissingTensor {
        /// The file or folder.
        file: String,
        /// The house name.
        name: String,
    },
    /// A tensor contradicts the metadata.
    #[error("{file}: tensor {name} {what}")]
    BadTensor {
        /// The file or folder.
        file: String,
        /// The house name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The rows of a query or key projection cannot be cut into heads.
    #[error("{n_rows} rows cannot be cut into {n_head} heads of an even number of rows")]
    Heads {
        /// Rows of the tensor.
        n_rows: usize,
        /// Heads, by the metadata.
        n_head: usize,
    },
}

/// The result of work with architectures.
pub type Result<T, E = Error> = std::result::Result<T, E>;
