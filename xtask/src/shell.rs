//! Running other programs, and knowing where the workspace is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Result;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the workspace").to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    // Relative to the root, where cargo is run.
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// `cargo` with these words, in the workspace's root.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// Runs a command, showing it first; its output goes to the terminal.
pub(crate) fn run(command: &mut Command) -> Result {
    eprintln!("$ {}", line(command));
    let status = command.status().map_err(|error| format!("{}: {error}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", line(command))) }
}

/// Runs a command and gives what it prints on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&succeed(command)?.stdout).into_owned())
}

/// Runs a command and gives what it prints on standard output, then what it prints on standard error.
pub(crate) fn all_output(command: &mut Command) -> Result<String> {
    let Output { mut stdout, stderr, .. } = succeed(command)?;
    stdout.extend(stderr);
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

fn succeed(command: &mut Command) -> Result<Output> {
    let output = command.output().map_err(|error| format!("{}: {error}", line(command)))?;
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().last().unwrap_or_default();
    Err(format!("{} failed ({}): {last}", line(command), output.status))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
