//! Standard output, for a reader that may go away: `gristmill inspect … | head` is no error.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use crate::exit::Exit;

/// Prints a line, as `println!` does.
macro_rules! say {
    () => { $crate::output::line(format_args!("")) };
    ($($words:tt)+) => { $crate::output::line(format_args!($($words)+)) };
}
pub(crate) use say;

/// Writes a line. A reader that went away ends the program quietly, as it ends others.
pub(crate) fn line(words: Arguments<'_>) {
    end_without_reader(writeln!(std::io::stdout().lock(), "{words}"));
}

/// Writes a text as it is, at once.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    end_without_reader(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn end_without_reader(written: std::io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            std::process::exit(Exit::Success as i32)
        }
        Err(error) => {
            eprintln!("error: standard output: {error}");
            std::process::exit(Exit::Failure as i32);
        }
    }
}
