//! Files of text: what Git leaves for a large file, what servers answer, and the small files beside a model.

use super::{FOLDER, Identity, ORIGINAL};

/// How many characters of a text are worth repeating.
const QUOTED: usize = 60;

/// How texts begin, in lower case; what they are; and the next step.
const TEXTS: &[(&str, &str, &str)] = &[
    ("<!doctype html", PAGE, DIRECT),
    ("<html", PAGE, DIRECT),
    ("<head", PAGE, DIRECT),
    ("<?xml", "this is an XML text, often a file server's error message, not a model", READ),
    ("{\"er", "this is an error message of a web server, not a model", READ),
    ("#version:", "these are the merges of a tokenizer (merges.txt), not a model", FOLDER),
    ("#!", "this is a script, not a model", "read it: it may download the model"),
    ("model_checkpoint_path:", "this is the list of a TensorFlow checkpoint's files", ORIGINAL),
    ("/annex/objects/", "this is a pointer of git-annex, not the file", "run git annex get FILE"),
];

/// A word near the beginning of a JSON file, what the file is, and the next step.
const JSONS: &[(&str, &str, &str)] = &[
    (
        "\"weight_map\"",
        "this is the index of a checkpoint in several files",
        "gristmill convert FILE, with those files, config.json and the tokenizer's files beside it",
    ),
    ("\"ParamSize\"", "this is the list of MLC LLM's weights, not the weights", ORIGINAL),
    ("\"added_tokens\"", "this is a tokenizer (tokenizer.json), not a model", FOLDER),
    ("\"tokenizer_class\"", "these are a tokenizer's settings, not a model", FOLDER),
    ("\"architectures\"", "this describes a model (config.json) and is none", FOLDER),
    ("\"model_type\"", "this describes a model (config.json) and is none", FOLDER),
    ("", "this is a JSON file, not a model", FOLDER),
];

const PAGE: &str = "this is a web page, not a model";
const DIRECT: &str =
    "the link led to a page about the file, or asked for a login: download the file itself";
const READ: &str = "read it with a text editor";

/// What a text is; `None` for bytes that are none.
pub(super) fn find(head: &[u8]) -> Option<Identity> {
    let text = as_text(head)?.trim_start_matches('\u{feff}').trim_start();
    if let Some(pointer) = git_lfs_pointer(text) {
        return Some(pointer);
    }
    let beginning: String = text.chars().take(QUOTED).collect();
    let lower = beginning.to_ascii_lowercase();
    if let Some((_, what, next)) = TEXTS.iter().find(|(start, ..)| lower.starts_with(start)) {
        return Some(Identity::new(*what, *next));
    }
    if text.starts_with('{') {
        let (_, what, next) = JSONS.iter().find(|(word, ..)| text.contains(word))?;
        return Some(Identity::new(*what, *next));
    }
    let line = beginning.lines().next().unwrap_or_default();
    let line: String =
        line.chars().filter(|c| c.is_alphanumeric() || " .,:;/-'()".contains(*c)).collect();
    Some(Identity::new(format!("this is a text, not a model; it begins with \"{line}\""), READ))
}

/// The bytes as text, if they are text. The last character may be cut off.
fn as_text(head: &[u8]) -> Option<&str> {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return None,
    };
    let text = std::str::from_utf8(&head[..valid]).ok()?;
    let is_text = |letter: char| !letter.is_control() || letter.is_ascii_whitespace();
    (!text.is_empty() && text.chars().all(is_text)).then_some(text)
}

/// A file that Git left in the place of a large one: three lines of text with its hash and size.
fn git_lfs_pointer(text: &str) -> Option<Identity> {
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
