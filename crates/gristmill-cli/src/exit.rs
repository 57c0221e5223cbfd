//! How a command ends: exit codes and the one line of an error.

use std::fmt::{Display, Formatter};
use std::process::ExitCode;

/// Exit codes, as shells and scripts expect them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All is done.
    Success = 0,
    /// Something failed; one line on standard error says what.
    Failure = 1,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A line for the user.
    Message(String),
    /// The user asked to stop.
    Interrupted,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Failure::Message(message) => message,
            Failure::Interrupted => "interrupted",
        })
    }
}

/// The result of a command.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Message(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Failure {
        Failure::Message(message.into())
    }
}

impl From<gristmill::Error> for Failure {
    fn from(error: gristmill::Error) -> Failure {
        if error.is_interrupted() {
            Failure::Interrupted
        } else {
            Failure::Message(error.to_string())
        }
    }
}

/// For `map_err`: an error about a file or another named thing.
pub(crate) fn at<E: Display>(place: impl Display) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Message(format!("{place}: {error}"))
}
