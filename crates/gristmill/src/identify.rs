//! What a file is: of any era, of ours or of none.
//!
//! Files of models are handed from tool to tool under names that say nothing (`model.bin`), and a download that went
//! wrong leaves a file of the right name with something else inside. The first bytes tell nearly all of it; the table
//! of `magics` says for each beginning what such a file is, who wrote and who reads it, and what to do with it. `inside`
//! tells files without a magic by their structure, `text` those that are text.
//!
//! `docs/identify.md` says the same to people who search for the error message of a loader.

mod inside;
mod text;

use std::path::Path;

use gristmill_tensor::{Access, open_source};

use crate::Result;
use crate::formats::HEAD_BYTES;
use crate::magics::{BESIDE, MAGICS, Magic, ORIGINAL, UNPACK};

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

    /// The same, or that a part is missing when the file has `len` bytes and should have more.
    fn unless_cut_short(self, len: u64, at_least: u64) -> Identity {
        match len < at_least {
            true => Identity {
                what: format!(
                    "{}; it was cut short: {len} of at least {at_least} bytes",
                    self.what
                ),
                next: "download it again".into(),
                ..self
            },
            false => self,
        }
    }

    fn new(what: impl Into<String>, next: impl Into<String>) -> Identity {
        Identity { what: what.into(), written_by: "", read_by: "", next: next.into() }
    }
}

const FOLDER: &str = "give the folder that it lies in";

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
    let found = inside::safetensors(head, len)
        .or_else(|| inside::zip(head))
        .or_else(|| inside::tar(head))
        .or_else(|| MAGICS.iter().find(|magic| magic.fits(head)).map(Magic::identity))
        .or_else(|| text::find(head))
        .or_else(|| inside::protobuf(head))
        .or_else(|| inside::msgpack(head))
        .or_else(|| inside::flatbuffer(head))
        .or_else(|| mlc_shard(path))
        .unwrap_or_else(|| unknown(head))
        .unless_cut_short(len, inside::least_gguf(head));
    Identity { next: with_paths(&found.next, path), ..found }
}

impl Magic {
    fn identity(&self) -> Identity {
        let Magic { written_by, read_by, .. } = *self;
        Identity { written_by, read_by, ..Identity::new(self.what, self.next) }
    }
}

/// Shards of MLC LLM are bare numbers, known by their names alone.
fn mlc_shard(path: &Path) -> Option<Identity> {
    let name = path.file_name()?.to_string_lossy();
    let what = "this is a shard of MLC LLM's weights, by its name";
    (name.starts_with("params_shard_") && name.ends_with(".bin")).then(|| Identity {
        written_by: "MLC LLM",
        read_by: "MLC LLM",
        ..Identity::new(what, ORIGINAL)
    })
}

fn unknown(head: &[u8]) -> Identity {
    let first: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let first = first.join(" ");
    let what = format!("this is no model file of a known format; it begins with the bytes {first}");
    Identity::new(what, "")
}

/// A step in which FILE and OUT stand for a file's path and that of a GGUF file beside it.
fn with_paths(next: &str, path: &Path) -> String {
    let words = next.split(' ').map(|word| match word.trim_end_matches(',') {
        "FILE" => word.replace("FILE", &shell_word(path)),
        "OUT" => word.replace("OUT", &output(path)),
        _ => word.into(),
    });
    words.collect::<Vec<_>>().join(" ")
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
        return Identity::new("this is a model in Meta's own layout", ORIGINAL);
    }
    if has("mlc-chat-config.json") || has("ndarray-cache.json") || has("tensor-cache.json") {
        return Identity::new("this is a model of MLC LLM", ORIGINAL);
    }
    Identity::new("this is a folder", format!("gristmill inspect {file}, or name a file in it"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            (b"\xef\xbb\xbf\n<!DOCTYPE html>", "web page"),
            (b"<HTML><body>", "web page"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"{\"a\":1}", "JSON"),
            (b"{\n  \"architectures\": [\"GPTJForCausalLM\"]", "config.json"),
            (b"{\"metadata\": {}, \"weight_map\": {", "index of a checkpoint"),
            (b"{\"metadata\": {\"ParamSize\": 3", "MLC LLM"),
            (b"Entry not found", "\"Entry not found\""),
            (b"PK\x03\x04....archive/data.pkl", "PyTorch checkpoint"),
            (b"PK\x03\x04....weight.npy", "NumPy"),
            (b"PK\x03\x04....notes.txt", "unpack"),
            (b"\x08\x01\x12\x9a", "SavedModel"),
            (b"\x08\x07\x12\x07pytorch", "ONNX"),
            (b"\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02", "tokenizer.model"),
            (b"\x81\xabtransformer\x82", "Flax"),
            (b"\x1c\0\0\0TFL3", "TFLite"),
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
            (b"GGUF\x01\0\0\0", "GGUF v1", "-o old.gguf"),
            (b"lmgg\x99\xca\0\0", "whisper.cpp", "whisper.cpp"),
            (b"nsgg\x01\0\0\0", "session", ""),
        ] {
            let identity = of_head(Path::new("old.bin"), head, 1 << 20);
            assert!(identity.what.contains(what), "{}", identity.what);
            assert!(identity.next.contains(next), "{}", identity.next);
        }
    }

    #[test]
    fn files_of_which_a_part_is_missing_are_found() {
        let json = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let whole = [&(json.len() as u64).to_le_bytes()[..], json, &[1; 8]].concat();
        assert!(!of(&whole).what.contains("cut short"));
        let cut = of(&whole[..whole.len() - 1]);
        assert!(cut.what.ends_with("cut short: 69 of at least 70 bytes"), "{cut:?}");
        assert_eq!(cut.next, "download it again");
        assert!(of(&whole[..20]).what.contains("cut short"));

        let gguf =
            |tensors: u64| [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &[0; 8]].concat();
        assert_eq!(of(&gguf(0)).what, "this is a GGUF v3 file");
        assert!(of(&gguf(2)).what.ends_with("24 of at least 90 bytes"));
        assert!(of(&gguf(u64::MAX)).what.contains("cut short"));
    }

    proptest! {
        #[test]
        fn something_is_said_of_any_bytes(head: Vec<u8>, at in 0..MAGICS.len()) {
            for bytes in [head.clone(), [MAGICS[at].begins, MAGICS[at].then, &head].concat()] {
                prop_assert!(!of(&bytes).what.is_empty());
            }
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
        assert!(of("OUT/FILE.bin").next.contains("convert OUT/FILE.bin -o OUT/FILE.gguf "));
        assert!(of("old.gguf").next.contains("convert old.gguf -o old.new.gguf "));
        let identity = of("my model.bin");
        assert!(
            identity.next.contains("convert 'my model.bin' -o 'my model.gguf' "),
            "{}",
            identity.next
        );
    }
}
