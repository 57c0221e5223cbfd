//! What a file is: of any era, of ours or of none.
//!
//! Files of models are handed from tool to tool under names that say nothing (`model.bin`), and a download that went
//! wrong leaves a file of the right name with something else inside. The first bytes tell nearly all of it; the table
//! of `magics` says for each beginning what such a file is, who wrote and who reads it, and what to do with it.

use std::path::Path;

use gristmill_tensor::{Access, open_source};

use crate::Result;
use crate::magics::{MAGICS, Magic};

/// What a file is and what it is good for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What it is, in one line.
    pub what: String,
    /// The tools that write such files, and when; empty where that is no help.
    pub written_by: &'static str,
    /// Who reads them today; empty where nobody does or that is no help.
    pub read_by: &'static str,
    /// The next step: a command, or where to get the right file.
    pub next: String,
}

impl Identity {
    /// What it is and the next step, as one line of an error.
    pub fn line(&self) -> String {
        match self.next.is_empty() {
            true => self.what.clone(),
            false => format!("{}; {}", self.what, self.next),
        }
    }

    fn new(what: impl Into<String>, next: impl Into<String>) -> Identity {
        Identity { what: what.into(), written_by: "", read_by: "", next: next.into() }
    }
}

/// How much of a file is looked at.
const HEAD_BYTES: u64 = 4096;

/// Says what the file at `path` is. Only its first 4 KiB are read.
///
/// # Errors
/// When it cannot be read.
pub fn identify(path: impl AsRef<Path>) -> Result<Identity> {
    let path = path.as_ref();
    if path.is_dir() {
        return Ok(folder(path));
    }
    let source = open_source(path, Access::Read)?;
    let head = source.read(0..source.len().min(HEAD_BYTES))?;
    Ok(of_head(path, &head, source.len()))
}

/// Says what a file of `len` bytes is that begins with `head`.
pub(crate) fn of_head(path: &Path, head: &[u8], len: u64) -> Identity {
    if head.is_empty() {
        return Identity::new("the file is empty", "download it again");
    }
    if head.iter().all(|&byte| byte == 0) {
        return Identity::new(
            "the file begins with zeros",
            "the download was probably broken off, so repeat it",
        );
    }
    if let Some(identity) = git_lfs_pointer(head).or_else(|| safetensors(path, head, len)) {
        return identity;
    }
    if head.get(257..262) == Some(b"ustar") {
        return Identity::new("this is a tar archive", "unpack it first");
    }
    if let Some(magic) = MAGICS.iter().find(|magic| magic.fits(head)) {
        return magic.identity(path);
    }
    let first: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let what = format!(
        "this is no model file of a known format; it begins with the bytes {}",
        first.join(" ")
    );
    Identity::new(what, "")
}

impl Magic {
    fn identity(&self, path: &Path) -> Identity {
        Identity {
            what: self.what.into(),
            written_by: self.written_by,
            read_by: self.read_by,
            next: self.next.replace("FILE", &shell_word(path)).replace("OUT", &output(path)),
        }
    }
}

/// A path as a shell takes it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:=@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The file beside `path` that a conversion to GGUF would make.
fn output(path: &Path) -> String {
    let suffix =
        if path.extension().is_some_and(|suffix| suffix == "gguf") { "new.gguf" } else { "gguf" };
    shell_word(&path.with_extension(suffix))
}

/// A file that Git left in the place of a large one: three lines of text with its hash and size.
fn git_lfs_pointer(head: &[u8]) -> Option<Identity> {
    let text = str::from_utf8(&head[..head.len().min(512)]).ok()?;
    let rest = text.strip_prefix("version https://git-lfs")?;
    // The text is anybody's; only what a hash and a number are made of is repeated.
    let word =
        |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ':').collect();
    let field = |key| rest.lines().find_map(|line| line.strip_prefix(key)).map(word);
    let size = field("size ").map(|size: String| format!(" of {size} bytes")).unwrap_or_default();
    let oid = field("oid ").map(|oid: String| format!(", {oid}")).unwrap_or_default();
    Some(Identity {
        what: format!(
            "this is a Git LFS pointer: Git fetched the name of the file{size}{oid} but not the file"
        ),
        written_by: "git clone without git-lfs",
        read_by: "",
        next: "run `git lfs pull`, or download the file itself".into(),
    })
}

/// safetensors have no magic but a plausible length and a brace, and their header says how long they are.
fn safetensors(path: &Path, head: &[u8], len: u64) -> Option<Identity> {
    let (n, json) = head.split_first_chunk()?;
    let n = u64::from_le_bytes(*n);
    if !json.starts_with(b"{") || !(2..=100_000_000).contains(&n) {
        return None;
    }
    let file = shell_word(path);
    let cut = n.checked_add(8).is_none_or(|header| header > len);
    Some(Identity {
        what: match cut {
            true => "this is a safetensors file that ends inside its header".into(),
            false => "this is a safetensors file, or a shard of a model in several".into(),
        },
        written_by: "Transformers and most training programs",
        read_by: "Transformers, gristmill, and with the folder's config.json most converters",
        next: match cut {
            true => "download it again".into(),
            false => format!(
                "gristmill convert {file}, with config.json and the tokenizer's files beside it"
            ),
        },
    })
}

/// What a folder holds, by the names in it.
fn folder(path: &Path) -> Identity {
    let has = |name: &str| path.join(name).exists();
    let file = shell_word(path);
    let weights = [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ];
    if has("config.json") && weights.iter().any(|name| has(name)) {
        return Identity {
            what: "this is a model in Hugging Face's layout".into(),
            written_by: "Transformers",
            read_by: "Transformers, gristmill, most converters",
            next: format!("gristmill convert {file}, or gristmill run {file}"),
        };
    }
    if has("consolidated.00.pth") && has("params.json") {
        return Identity::new(
            "this is a model in Meta's own layout",
            "take the model in Hugging Face's layout",
        );
    }
    if has("mlc-chat-config.json") || has("ndarray-cache.json") || has("tensor-cache.json") {
        return Identity::new("this is a model of MLC LLM", "take the original model");
    }
    Identity::new("this is a folder", format!("gristmill inspect {file}, or name a file in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &[u8]) -> Identity {
        of_head(Path::new("old.bin"), head, head.len() as u64)
    }

    #[test]
    fn says_what_was_downloaded_instead_of_a_model() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        for (head, word) in [
            (&b""[..], "empty"),
            (&[0; 64], "zeros"),
            (pointer, "12345 bytes, sha256:4d7a"),
            (b"<!DOCTYPE html>", "web page"),
            (b"{\"error\":\"not found\"}", "error message"),
            (b"{\"a\":1}", "JSON"),
            (b"\x80\x02}q\0.", "pickle"),
            (b"\x01\x02\x03", "01 02 03"),
        ] {
            assert!(of(head).line().contains(word), "{word}: {}", of(head).line());
        }
    }

    #[test]
    fn legacy_files_are_told_apart_by_their_versions() {
        for (head, what, next) in [
            (&b"lmgg\x00\x10"[..], "GGML", "gristmill convert old.bin -o old.gguf "),
            (b"fmgg\x01\0\0\0", "GGMF v1", "gristmill convert old.bin"),
            (b"fmgg\x65\0\0\0", "RWKV", "original"),
            (b"tjgg\x01\0\0\0", "GGJT v1", "gristmill convert old.bin"),
            (b"tjgg\x03\0\0\0", "GGJT v3", "gristmill convert old.bin"),
            (b"GGUF\x03\0\0\0", "GGUF v3", "gristmill run old.bin"),
            (b"GGUF\0\0\0\x03", "big-endian", "gristmill run old.bin"),
            (b"nsgg\x01\0\0\0", "session", ""),
        ] {
            let identity = of(head);
            assert!(identity.what.contains(what), "{}", identity.what);
            assert!(identity.next.contains(next), "{}", identity.next);
        }
    }

    #[test]
    fn every_beginning_can_be_met() {
        for (number, magic) in MAGICS.iter().enumerate() {
            let mut head = magic.begins.to_vec();
            head.extend(magic.then);
            let met = MAGICS.iter().position(|magic| magic.fits(&head));
            assert_eq!(met, Some(number), "{}", magic.what);
        }
    }

    #[test]
    fn the_command_names_the_file_as_a_shell_takes_it() {
        let of = |path: &str| of_head(Path::new(path), b"tjgg\x03\0\0\0", 8);
        assert!(of("a/old.bin").next.contains("convert a/old.bin -o a/old.gguf "));
        assert!(of("old.gguf").next.contains("convert old.gguf -o old.new.gguf "));
        let identity = of("my model.bin");
        assert!(
            identity.next.contains("convert 'my model.bin' -o 'my model.gguf' "),
            "{}",
            identity.next
        );
    }
}
