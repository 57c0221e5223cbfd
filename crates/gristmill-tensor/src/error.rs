//! The one error of all file work, with variants by origin: the operating system, the file, us, the budget.

use std::io;
use std::path::PathBuf;

/// What went wrong while reading or writing a model file.
///
/// Every variant says where. `format` is the name of the format being read, as users write it (`"GGUF"`).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file breaks its format's rules.
    #[error("{file}: {format}: at byte {offset}: {what}")]
    Malformed {
        /// The file, as the user knows it.
        file: String,
        /// The format being read.
        format: &'static str,
        /// Bytes from the start of the file.
        offset: u64,
        /// What is wrong and, where there is one, the cure.
        what: String,
    },
    /// The file may be right, but gristmill cannot do this.
    #[error("{file}: {format}: {what}")]
    Unsupported {
        /// The file, as the user knows it.
        file: String,
        /// The format being read or written.
        format: &'static str,
        /// What is not supported and what to do instead.
        what: String,
    },
    /// The file asks for more than the budget allows.
    #[error("{file}: {what} is {found}, more than the limit of {limit}")]
    Limit {
        /// The file, as the user knows it.
        file: String,
        /// The quantity.
        what: String,
        /// The most that is allowed.
        limit: u64,
        /// What the file asks for.
        found: u64,
    },
    /// A tensor, metadata key or file that is needed is not there.
    #[error("{file}: {what} is missing{hint}")]
    Missing {
        /// The file or folder searched.
        file: String,
        /// What is missing.
        what: String,
        /// Empty, or `"; "` and what to do about it.
        hint: String,
    },
    /// The output is there already.
    #[error("{} exists already; give --force to replace it", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The caller asked to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

/// The result of file work.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Io`] at `path`; for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// An [`Error::Malformed`].
    pub fn malformed(
        file: impl Into<String>,
        format: &'static str,
        offset: u64,
        what: impl Into<String>,
    ) -> Error {
        Error::Malformed { file: file.into(), format, offset, what: what.into() }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(
        file: impl Into<String>,
        format: &'static str,
        what: impl Into<String>,
    ) -> Error {
        Error::Unsupported { file: file.into(), format, what: what.into() }
    }

    /// An [`Error::Missing`] without a hint.
    pub fn missing(file: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Missing { file: file.into(), what: what.into(), hint: String::new() }
    }
}
