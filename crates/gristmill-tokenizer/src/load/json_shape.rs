//! What kind of tokenizer a tokenizer.json describes, and whether GGUF's keys can say exactly the same.
//!
//! GGUF names three schemes and, for the byte-level one, a few dozen ways to cut words; everything else that a
//! tokenizer.json can do is lost. Whatever is lost is reported as a doubt, in words.

use serde_json::Value;

use super::json_file::File;
use crate::byte_level;
use crate::pre::{Family, cuts_of, flatten, has_byte_level};
use crate::scheme::{BLANK, Blanks};
use crate::{Error, Result};

/// The scheme of a file.
pub(super) enum Shape {
    ByteLevel { family: &'static Family, doubt: Option<String> },
    SentencePiece(BlankForm),
    Unigram(BlankForm),
}

/// How a file treats blanks, and what GGUF would lose of it.
pub(super) struct BlankForm {
    pub(super) blanks: Blanks,
    pub(super) charsmap: Vec<u8>,
    pub(super) doubt: Option<String>,
}

/// Recognizes the scheme of a file.
///
/// # Errors
/// [`Error::Unsupported`] for schemes that no language model of ours uses.
pub(super) fn shape(file: &str, json: &File) -> Result<Shape> {
    let model = &json.model;
    let kind = model.kind.as_deref().unwrap_or("BPE");
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err(Error::unsupported(
            file,
            "BPE with marks inside or behind words is not supported",
        ));
    }
    match kind {
        "BPE" if has_byte_level(&json.pre_tokenizer) || has_byte_level(&json.decoder) => {
            Ok(byte_level_shape(json))
        }
        "BPE" if model.byte_fallback == Some(true) || mentions_blank(json) => {
            Ok(Shape::SentencePiece(blank_form(json, added_doubt(json, true))))
        }
        "Unigram" => {
            let mut form = blank_form(json, added_doubt(json, true));
            // GGUF's unigram has SentencePiece's own normalizer, which this one only resembles.
            form.doubt.get_or_insert_with(|| {
                "it is a unigram model with Hugging Face's parts".to_owned()
            });
            Ok(Shape::Unigram(form))
        }
        "BPE" => {
            Err(Error::unsupported(file, "BPE that is neither byte-level nor SentencePiece's"))
        }
        other => {
            let what = format!("tokenizer model {other}; BPE and Unigram are supported");
            Err(Error::unsupported(file, what))
        }
    }
}

fn byte_level_shape(json: &File) -> Shape {
    let (fallback, _) = Family::by_name("gpt-2").expect("the table has it");
    let ignore_merges = json.model.ignore_merges.unwrap_or(false);
    let nfc = match parts(&json.normalizer).as_slice() {
        [] => Some(false),
        [only] if is(only, "NFC") => Some(true),
        _ => None,
    };
    let found = cuts_of(&json.pre_tokenizer)
        .map(|cuts| Family::matching(&cuts, ignore_merges, nfc.unwrap_or(false)));
    let (family, doubt) = match found {
        Some((Some(family), true)) if nfc.is_some() => (family, None),
        Some((Some(family), _)) => {
            let name = family.name();
            (family, Some(format!("it cuts words like {name} but normalizes or merges otherwise")))
        }
        _ => {
            let pre_tokenizer = serde_json::from_value(json.pre_tokenizer.clone()).ok();
            let nearest = pre_tokenizer.and_then(|ours| Family::nearest(&ours)).unwrap_or(fallback);
            let name = nearest.name();
            (
                nearest,
                Some(format!("it cuts words in a way of its own; {name} is the nearest name")),
            )
        }
    };
    let incomplete = || {
        let texts: Vec<String> = (0..=255u8).map(|byte| byte_level::to_text(&[byte])).collect();
        let super::json_file::Vocabulary::Ids(pairs) = &json.model.vocab else { return None };
        let known: std::collections::HashSet<&str> =
            pairs.iter().map(|(text, _)| text.as_str()).collect();
        (json.model.unk_token.is_some() && texts.iter().any(|text| !known.contains(text.as_str())))
            .then(|| "some bytes are unknown to it".to_owned())
    };
    Shape::ByteLevel {
        family,
        doubt: doubt.or_else(|| added_doubt(json, false)).or_else(incomplete),
    }
}

/// Added tokens that swallow blanks around them, or are found only after normalization.
fn added_doubt(json: &File, normalizes: bool) -> Option<String> {
    let strange = json.added_tokens.iter().find(|token| {
        let normalized = token.normalized.unwrap_or(!token.special);
        token.lstrip || token.rstrip || token.single_word || (normalizes && normalized)
    })?;
    Some(format!("its token {:?} is matched in a special way", strange.content))
}

fn blank_form(json: &File, mut doubt: Option<String>) -> BlankForm {
    let mut blanks = Blanks::default();
    let mut replaces = false;
    for part in parts(&json.normalizer) {
        let text = |key: &str| part.get(key).and_then(Value::as_str);
        if is(part, "Prepend") && text("prepend") == Some(BLANK) && !replaces {
            blanks.add_prefix = true;
        } else if is(part, "Replace")
            && pattern(part) == Some(" ")
            && text("content") == Some(BLANK)
        {
            replaces = true;
        } else {
            doubt.get_or_insert_with(|| "it normalizes text in its own way".to_owned());
        }
    }
    for part in parts(&json.pre_tokenizer) {
        if is(part, "Metaspace") {
            let scheme = part.get("prepend_scheme").and_then(Value::as_str).unwrap_or("always");
            let prefix = part.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(true);
            blanks.add_prefix |= prefix && scheme != "never";
            replaces = true;
            doubt.get_or_insert_with(|| "it treats blanks by a Metaspace".to_owned());
        } else if !(is(part, "Split") && pattern(part) == Some(" ") && replaces) {
            doubt.get_or_insert_with(|| "it cuts words, which SentencePiece does not".to_owned());
        }
    }
    if !replaces {
        doubt.get_or_insert_with(|| "it does not mark blanks".to_owned());
    }
    for part in parts(&json.decoder) {
        let strips = is(part, "Strip") && part.get("start").and_then(Value::as_u64) == Some(1);
        let scheme = part.get("prepend_scheme").and_then(Value::as_str).unwrap_or("always");
        blanks.strip_prefix |= strips || (is(part, "Metaspace") && scheme != "never");
    }
    if blanks.strip_prefix != blanks.add_prefix {
        doubt.get_or_insert_with(|| {
            "it adds a blank but does not strip it, or the reverse".to_owned()
        });
    }
    let charsmap =
        charsmap(&json.normalizer).and_then(crate::charsmap::from_base64).unwrap_or_default();
    BlankForm { blanks, charsmap, doubt }
}

fn mentions_blank(json: &File) -> bool {
    [&json.normalizer, &json.pre_tokenizer, &json.decoder].iter().any(|part| {
        part.to_string().contains(BLANK) || parts(part).iter().any(|part| is(part, "Metaspace"))
    })
}

/// The compiled table among the parts of a normalizer, in base64.
pub(super) fn charsmap(normalizer: &Value) -> Option<&str> {
    parts(normalizer).iter().find_map(|part| part.get("precompiled_charsmap")?.as_str())
}

/// The parts of nested sequences, in order.
pub(super) fn parts(part: &Value) -> Vec<&Value> {
    let mut parts = Vec::new();
    flatten(part, &mut parts);
    parts
}

/// Whether this part has this `type`.
pub(super) fn is(part: &Value, kind: &str) -> bool {
    part.get("type").and_then(Value::as_str) == Some(kind)
}

fn pattern(part: &Value) -> Option<&str> {
    part.get("pattern")?.get("String")?.as_str()
}
