//! What can go wrong with a tokenizer, and the remarks that are not errors.

use std::path::Path;

/// Why a tokenizer could not be read, written or used. Every variant names the file and the place in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system, the budget or the metadata refused.
    #[error(transparent)]
    File(#[from] gristmill_tensor::Error),
    /// No tokenizer is there.
    #[error("{place}: no tokenizer: looked for {looked_for}; {cure}")]
    Missing {
        /// The folder or file searched.
        place: String,
        /// The names that were tried.
        looked_for: String,
        /// What the user can do.
        cure: String,
    },
    /// The file contradicts itself or its format.
    #[error("{file}: {place}: {what}")]
    Malformed {
        /// The file, as the user knows it.
        file: String,
        /// A key, an index or a line and column.
        place: String,
        /// What is wrong and, where there is one, the cure.
        what: String,
    },
    /// The file may be right, but this kind of tokenizer is not known here.
    #[error("{file}: {what}")]
    Unsupported {
        /// The file, as the user knows it.
        file: String,
        /// What is not supported and what is.
        what: String,
    },
    /// The text could not be encoded.
    #[error("{file}: cannot encode the text: {what}")]
    Encode {
        /// The file the tokenizer came from.
        file: String,
        /// What the model said.
        what: String,
    },
    /// The tokenizer belongs to another vocabulary.
    #[error(
        "{file}: token {id} is {text:?} but {bare_text:?} in {bare}; take the tokenizer files that belong to these \
         weights"
    )]
    Differs {
        /// The file the tokenizer came from.
        file: String,
        /// The file with the bare vocabulary.
        bare: String,
        /// The first id with different texts.
        id: crate::TokenId,
        /// Its text in the tokenizer.
        text: String,
        /// Its text in the bare vocabulary.
        bare_text: String,
    },
    /// The vocabulary does not fit the model's embedding.
    #[error(
        "{file}: the tokenizer has {n_tokens} tokens but the model's embedding has only {n_vocab} rows; \
         take the tokenizer files that belong to these weights"
    )]
    TooManyTokens {
        /// The file the tokenizer came from.
        file: String,
        /// Tokens of the tokenizer.
        n_tokens: usize,
        /// Rows of the embedding.
        n_vocab: usize,
    },
}

/// The result of tokenizer work.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn malformed(
        file: impl Into<String>,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Error {
        Error::Malformed { file: file.into(), place: place.into(), what: what.into() }
    }

    pub(crate) fn unsupported(file: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Unsupported { file: file.into(), what: what.into() }
    }

    /// A JSON error, with its line and column as the place.
    pub(crate) fn json(path: &Path, error: &serde_json::Error) -> Error {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::malformed(path.display().to_string(), place, error.to_string())
    }
}

/// A remark for the user: nothing failed, but something is not quite as it looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// A whole sentence without a full stop.
    pub what: String,
}

impl Note {
    pub(crate) fn new(what: impl Into<String>) -> Note {
        Note { what: what.into() }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}
