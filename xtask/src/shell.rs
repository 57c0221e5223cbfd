//! Running other programs, and knowing where the workspace is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

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

/// A folder, made if need be.
pub(crate) fn made(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// An empty folder: what was in it is deleted.
pub(crate) fn emptied(folder: PathBuf) -> Result<PathBuf> {
    // What cannot be deleted shows when it is in the way.
    let _ = fs::remove_dir_all(&folder);
    made(folder)
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

/// Runs a command and gives what it prints on standard output, and the most memory that it held, in bytes, where the
/// system tells.
pub(crate) fn output_and_peak(command: &mut Command) -> Result<(String, Option<u64>)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("{}: {error}", line(command)))?;
    let (id, is_over) = (child.id(), AtomicBool::new(false));
    let (output, peak) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = None;
            while !is_over.load(Ordering::Relaxed) {
                peak = peak_memory(id).or(peak);
                thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        let output = child.wait_with_output();
        is_over.store(true, Ordering::Relaxed);
        (output, watcher.join().unwrap_or_default())
    });
    let output = output.map_err(|error| format!("{}: {error}", line(command)))?;
    let Output { stdout, .. } = checked(command, output)?;
    Ok((String::from_utf8_lossy(&stdout).into_owned(), peak))
}

/// What Linux says that a running program held at most until now, in bytes.
fn peak_memory(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}

fn succeed(command: &mut Command) -> Result<Output> {
    let output = command.output().map_err(|error| format!("{}: {error}", line(command)))?;
    checked(command, output)
}

/// What a command gave, if it succeeded.
fn checked(command: &Command, output: Output) -> Result<Output> {
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
