//! `tidy`: the rules that no compiler keeps. docs/architecture.md states them; this file is the robot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::shell::{output, root};

/// The layers, ground first. A crate may depend on crates of lower layers, and on those of its own layer that are
/// named after it here.
const LAYERS: &[(u8, &str, &[&str])] = &[
    (0, "gristmill-tensor", &[]),
    (1, "gristmill-graph", &[]),
    (1, "gristmill-quant", &[]),
    (1, "gristmill-ggml", &[]),
    (1, "gristmill-gguf", &[]),
    (1, "gristmill-safetensors", &[]),
    (1, "gristmill-torch", &[]),
    (1, "gristmill-tokenizer", &[]),
    (2, "gristmill-arch", &[]),
    (2, "gristmill-kernels", &[]),
    (3, "gristmill-convert", &[]),
    (3, "gristmill-runtime", &[]),
    (3, "gristmill-verify", &["gristmill-runtime", "gristmill-convert"]),
    (4, "gristmill", &[]),
    (5, "gristmill-cli", &[]),
];

/// Packages for development only: anything may be used by them, and they only in `[dev-dependencies]`.
const DEVELOPMENT: &[&str] = &["gristmill-testkit", "fuzz"];

/// The only places where unsafe code may stand, besides tests.
const UNSAFE_PLACES: &[&str] = &[
    "crates/gristmill-tensor/src/mmap.rs",
    "crates/gristmill-kernels/src/team.rs",
    "crates/gristmill-kernels/src/team/",
    "crates/gristmill-kernels/src/level/",
    "crates/gristmill-quant/src/level.rs",
    "crates/gristmill-testkit/src/heap.rs",
];

/// The longest a source file may be, without its tests.
const MAX_LINES: usize = 600;

/// Checks everything and lists all that is wrong.
pub(crate) fn run(_: &[String]) -> Result {
    let root = root();
    let files = tracked_files(&root)?;
    let mut problems = Vec::new();
    check_layers(&root, &mut problems);
    for file in &files {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        check_paths(file, &text, &mut problems);
        if file.ends_with(".rs") {
            check_source(file, &text, &mut problems);
        }
    }
    check_docs(&root, &files, &mut problems);
    if problems.is_empty() {
        eprintln!("tidy: {} files, nothing to say", files.len());
        return Ok(());
    }
    Err(format!("tidy found {}:\n  {}", problems.len(), problems.join("\n  ")))
}

/// The files of the workspace that git tracks or would track.
fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listing = output(&mut git)?;
    Ok(listing.lines().filter(|file| root.join(file).is_file()).map(String::from).collect())
}

/// The workspace packages that a manifest names under `[dependencies]`, scanned by line.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if section == "dependencies" && line.starts_with("gristmill") {
            let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
            found.push(line[..end].to_string());
        }
    }
    found
}

fn check_layers(root: &Path, problems: &mut Vec<String>) {
    let layers: BTreeMap<&str, (u8, &[&str])> =
        LAYERS.iter().map(|&(layer, name, same)| (name, (layer, same))).collect();
    let mut folders: Vec<PathBuf> = fs::read_dir(root.join("crates"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        if DEVELOPMENT.contains(&name.as_str()) {
            continue;
        }
        let Some(&(layer, same_layer)) = layers.get(name.as_str()) else {
            problems.push(format!("crates/{name} has no layer in xtask/src/tidy.rs"));
            continue;
        };
        for dependency in dependencies(&manifest) {
            let allowed = layers.get(dependency.as_str()).is_some_and(|&(below, _)| {
                below < layer || same_layer.contains(&dependency.as_str())
            });
            if !allowed {
                problems
                    .push(format!("crates/{name}: layer {layer} may not depend on {dependency}"));
            }
        }
    }
}

fn check_source(file: &str, text: &str, problems: &mut Vec<String>) {
    let is_test = file.contains("/tests/") || file.ends_with("/tests.rs");
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = body.lines().count();
    if !is_test && lines > MAX_LINES {
        problems.push(format!("{file}: {lines} lines; split it (the limit is {MAX_LINES})"));
    }
    if !is_test && !text.starts_with("//!") && !text.starts_with("#![doc") {
        problems.push(format!("{file}: does not open with what it is for (`//!`)"));
    }
    let has_unsafe = body.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
    });
    let allowed = UNSAFE_PLACES.iter().any(|place| file.starts_with(place));
    if has_unsafe && !allowed && !is_test && !file.starts_with("xtask/") {
        problems
            .push(format!("{file}: unsafe code outside the places that xtask/src/tidy.rs lists"));
    }
}

/// Paths of one machine never belong in the project.
fn check_paths(file: &str, text: &str, problems: &mut Vec<String>) {
    if file.ends_with(".lock") || file.ends_with(".svg") || file.starts_with("testdata/") {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        let marks = [
            concat!("/ho", "me/"),
            concat!("/Us", "ers/"),
            concat!("/wo", "rk/"),
            concat!("/ro", "ot/"),
        ];
        if marks.iter().any(|mark| line.contains(mark)) {
            problems.push(format!("{file}:{}: names a path of one machine", number + 1));
        }
    }
}

/// Every crate is described in docs/architecture.md, and every file that it names exists.
fn check_docs(root: &Path, files: &[String], problems: &mut Vec<String>) {
    const MAP: &str = "docs/architecture.md";
    let Ok(text) = fs::read_to_string(root.join(MAP)) else {
        problems.push(format!("{MAP} is missing"));
        return;
    };
    for (_, name, _) in LAYERS {
        if !text.contains(&format!("`{name}`")) {
            problems.push(format!("{MAP} does not describe `{name}`"));
        }
    }
    for quoted in text.split('`').skip(1).step_by(2) {
        let is_path = quoted.contains('/')
            && quoted.ends_with(".rs")
            && !quoted.contains(['<', '*', ' ', '{']);
        if is_path
            && !files.iter().any(|file| file == quoted || file == &format!("crates/{quoted}"))
        {
            problems.push(format!("{MAP} names {quoted}, which does not exist"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_dependencies_do_not_count_as_layers() {
        let manifest = "[dependencies]\ngristmill-tensor.workspace = true\nhalf = \"2\"\n\n[dev-dependencies]\ngristmill-gguf.workspace = true\n";
        assert_eq!(dependencies(manifest), ["gristmill-tensor"]);
    }
}
