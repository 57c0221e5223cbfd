//! vocab.json and merges.txt: the files of GPT-2 and of every slow byte-level tokenizer since.
//!
//! They do not say how text is cut into words; the kind of model does.

use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::Limits;

use super::config::{Config, read_text};
use super::json_file::Vocabulary;
use crate::merges::{resolve, split_pair};
use crate::pre::Family;
use crate::scheme::{Merges, Scheme, byte_level_encoder};
use crate::special::Special;
use crate::tokenizer::Parts;
use crate::vocab::{Kind, MAX_MERGES, Vocab};
use crate::{Error, Note, Result, Tokenizer};

/// The tokenizer of the two files; `None` when they are not both there.
pub(super) fn from_folder(
    folder: &Path,
    config: &Config,
    limits: &Limits,
) -> Result<Option<Tokenizer>> {
    let (vocab_path, merges_path) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let Some(vocab) = read_text(&vocab_path, limits)? else { return Ok(None) };
    let Some(merges) = read_text(&merges_path, limits)? else { return Ok(None) };
    let file = vocab_path.display().to_string();
    let Vocabulary::Ids(pairs) =
        serde_json::from_str(&vocab).map_err(|error| Error::json(&vocab_path, &error))?
    else {
        return Err(Error::malformed(file, "line 1", "should be a map of texts to ids"));
    };
    let mut vocab = Vocab::from_pairs(&file, "vocabulary", pairs)?;
    let merges = parse(&merges_path.display().to_string(), &vocab, &merges)?;
    if let Some(id) = vocab.id("<|endoftext|>") {
        vocab.set_kind(id, Kind::Control);
    }
    config.extend(&mut vocab)?;

    let mut special = Special::default();
    config.assign(&vocab, &mut special);
    special.complete(&mut vocab);
    special.surround(config.add_bos().unwrap_or(false), config.add_eos().unwrap_or(false));

    let mut notes = Vec::new();
    let (name, sure) = family_of(config.model_type());
    if !sure {
        notes.push(Note::new(format!(
            "vocab.json does not say how words are cut out of text; took the cuts of {name}"
        )));
    }
    if config.add_prefix_space() == Some(true) {
        notes.push(Note::new(
            "tokenizer_config.json asks for a blank in front of the text, which is not added",
        ));
    }
    let (family, name) = Family::by_name(name).expect("the names below are in the table");
    let vocab = Arc::new(vocab);
    let encoder = byte_level_encoder(&file, &vocab, family, &merges)?;
    let scheme = Scheme::ByteLevel { family, name, merges };
    let templates = config.templates.clone();
    Ok(Some(Tokenizer::assemble(Parts {
        origin: file,
        vocab,
        scheme,
        special,
        encoder,
        templates,
        notes,
        kept: None,
    })))
}

/// The family whose cuts the models of this type use, and whether that is known.
fn family_of(model_type: Option<&str>) -> (&'static str, bool) {
    match model_type {
        Some("gpt2" | "gptj" | "gpt_neo" | "opt" | "phi" | "codegen") => ("gpt-2", true),
        Some("gpt_neox" | "mpt" | "olmo") => ("mpt", true),
        Some("gpt_bigcode" | "starcoder2") => ("starcoder", true),
        Some("falcon" | "RefinedWeb" | "RefinedWebModel") => ("falcon", true),
        Some("bloom") => ("bloom", true),
        Some("qwen2" | "qwen2_moe" | "qwen3" | "qwen3_moe") => ("qwen2", true),
        _ => ("gpt-2", false),
    }
}

/// One merge per line, best first; only the line ends are stripped.
fn parse(file: &str, vocab: &Vocab, text: &str) -> Result<Merges> {
    let mut merges = Merges::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || number == 1 && line.starts_with("#version") {
            continue;
        }
        let place = || format!("line {number}");
        let (left, right) = split_pair(line)
            .ok_or_else(|| Error::malformed(file, place(), "has no blank between two parts"))?;
        merges.push(resolve(file, vocab, place, left, right)?);
        if merges.len() > MAX_MERGES {
            return Err(Error::malformed(file, place(), "more merges than any model has"));
        }
    }
    Ok(merges)
}
