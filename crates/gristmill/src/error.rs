//! The facade's error: it wraps those of the layers below, and adds what only a look at a whole folder can tell.

use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] gristmill_tensor::Error),
    /// The model does not fit its architecture, or that is not known.
    #[error(transparent)]
    Architecture(#[from] gristmill_arch::Error),
    /// The tokenizer could not be read or used.
    #[error(transparent)]
    Tokenizer(#[from] gristmill_tokenizer::Error),
    /// The conversion failed.
    #[error(transparent)]
    Convert(#[from] gristmill_convert::Error),
    /// The model cannot be run.
    #[error(transparent)]
    Runtime(#[from] gristmill_runtime::Error),
    /// The file is of no known format.
    #[error("{}: {what}", path.display())]
    Unrecognized {
        /// The file.
        path: PathBuf,
        /// What it is instead, and the cure.
        what: String,
    },
    /// Files that are needed are missing or not what they should be: all of them at once, before any work.
    #[error("{}: {}", path.display(), list(problems))]
    Inputs {
        /// The folder or file that was to be opened.
        path: PathBuf,
        /// One sentence for each problem, with its cure.
        problems: Vec<String>,
    },
}

impl Error {
    /// Whether nothing is wrong, but the caller asked to stop.
    pub fn is_interrupted(&self) -> bool {
        let file = match self {
            Error::File(error) | Error::Convert(gristmill_convert::Error::File(error)) => error,
            _ => return false,
        };
        matches!(file, gristmill_tensor::Error::Interrupted)
    }
}

/// The result of work through the facade.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn list(problems: &[String]) -> String {
    match problems {
        [only] => only.clone(),
        several => format!("{} problems: {}", several.len(), several.join("; ")),
    }
}
