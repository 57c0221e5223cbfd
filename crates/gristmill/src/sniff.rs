//! What a file is that is no model: the things that are handed to loaders by mistake, by their first bytes.
//!
//! A download that went wrong usually leaves a file of the right name with something else inside. Saying what it is
//! saves the user a search.

/// Says in words what a file that no format recognizes begins with, and what to do about it.
pub(crate) fn describe(head: &[u8]) -> String {
    if head.is_empty() {
        return "the file is empty; download it again".into();
    }
    if head.iter().all(|&byte| byte == 0) {
        return "the file begins with zeros; the download was probably broken off, so repeat it"
            .into();
    }
    if let Some(pointer) = git_lfs_pointer(head) {
        return pointer;
    }
    for (magic, what) in MAGICS {
        if head.starts_with(magic) {
            return (*what).into();
        }
    }
    if head.get(257..262) == Some(b"ustar") {
        return "this is a tar archive; unpack it first".into();
    }
    let first: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("this is no model file of a known format; it begins with the bytes {}", first.join(" "))
}

const PAGE: &str =
    "this is a web page, not a model; the link led to a page about the file, or asked for a login";
const LEGACY: &str = "this is a ggml file from before GGUF (August 2023), which cannot be read yet";

/// Longest first where one begins another.
const MAGICS: &[(&[u8], &str)] = &[
    (b"<!DOCTYPE", PAGE),
    (b"<!doctype", PAGE),
    (b"<html", PAGE),
    (b"<HTML", PAGE),
    (b"{\"er", "this is an error message of a web server, not a model; read it with a text editor"),
    (b"lmgg", LEGACY),
    (b"fmgg", LEGACY),
    (b"tjgg", LEGACY),
    (b"mmgg", LEGACY),
    (b"ccgg", LEGACY),
    (b"algg", "this is a LoRA adapter of llama.cpp, not a model"),
    (b"nsgg", "this is a saved session of llama.cpp, not a model"),
    (b"lper", LEGACY),
    (b"FUGG", "this is a GGUF file whose bytes were swapped"),
    (b"PK", "this is a zip archive, but not one that PyTorch wrote; unpack it first"),
    (b"\x1f\x8b", "this is a gzip archive; unpack it first"),
    (b"\xfd7zXZ", "this is an xz archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "this is a zstd archive; unpack it first"),
    (b"\x89HDF", "this is an HDF5 file (Keras, TensorFlow), which cannot be read"),
    (b"\x93NUMPY", "this is a NumPy array, not a checkpoint"),
    (b"\x80", "this is a pickle, but not one that PyTorch wrote"),
    (b"{", "this is a JSON file, not a model; give the folder that it lies in"),
];

/// A file that Git left in the place of a large one: three lines of text with its hash and size.
fn git_lfs_pointer(head: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(&head[..head.len().min(512)]).ok()?;
    let rest = text.strip_prefix("version https://git-lfs")?;
    let field = |key| rest.lines().find_map(|line| line.strip_prefix(key));
    let size = field("size ").map(|size| format!(" of {size} bytes")).unwrap_or_default();
    Some(format!(
        "this is a Git LFS pointer: Git fetched the name of the file{size} but not the file; run `git lfs pull`, or \
         download the file itself"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_downloaded_instead_of_a_model() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        for (head, word) in [
            (&b""[..], "empty"),
            (&[0; 64], "zeros"),
            (pointer, "12345 bytes"),
            (b"<!DOCTYPE html>", "web page"),
            (b"{\"error\":\"not found\"}", "error message"),
            (b"tjgg\x03\0\0\0", "before GGUF"),
            (b"{\"a\":1}", "JSON"),
            (b"\x80\x02}q\0.", "pickle"),
            (b"\x01\x02\x03", "01 02 03"),
        ] {
            assert!(describe(head).contains(word), "{word}: {}", describe(head));
        }
    }
}
