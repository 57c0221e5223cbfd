//! A tokenizer as the files of a model folder, for Hugging Face's transformers and whoever reads SentencePiece.
//!
//! tokenizer.json is exact, and tokenizer_config.json names the class that applies it as it is; tokenizer.model is
//! written beside it for SentencePiece vocabularies.

mod tokenizer_json;

use serde_json::{Map, Value, json};

use crate::load::sentencepiece_bytes;
use crate::special::ROLES;
use crate::{Error, Result, Tokenizer};

/// The roles that transformers knows by name.
const STANDARD: [&str; 6] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "mask_token"];

/// The files by name.
pub(crate) fn to_files(tokenizer: &Tokenizer) -> Result<Vec<(String, Vec<u8>)>> {
    let text = match &tokenizer.kept {
        Some(kept) => kept.json.clone().into_bytes(),
        None => pretty(tokenizer, &tokenizer_json::of(tokenizer)?)?,
    };
    let special = special_tokens(tokenizer);
    let mut files = vec![
        ("tokenizer.json".to_owned(), text),
        ("tokenizer_config.json".to_owned(), pretty(tokenizer, &config(tokenizer, &special))?),
        ("special_tokens_map.json".to_owned(), pretty(tokenizer, &Value::Object(special))?),
    ];
    if !tokenizer.scheme.is_byte_level() {
        files.push(("tokenizer.model".to_owned(), sentencepiece_bytes(tokenizer)));
    }
    Ok(files)
}

fn pretty(tokenizer: &Tokenizer, value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| Error::unsupported(&*tokenizer.origin, error.to_string()))
}

/// Texts by role.
fn special_tokens(tokenizer: &Tokenizer) -> Map<String, Value> {
    let known = ROLES.iter().filter(|names| STANDARD.contains(&names.config));
    let text = |name: &str| tokenizer.special_text(name).map(Value::from);
    known.filter_map(|names| Some((names.config.to_owned(), text(names.config)?))).collect()
}

/// tokenizer_config.json.
fn config(tokenizer: &Tokenizer, special: &Map<String, Value>) -> Value {
    let mut config = special.clone();
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    set("tokenizer_class", "PreTrainedTokenizerFast".into());
    set("add_bos_token", tokenizer.adds_bos().into());
    set("add_eos_token", tokenizer.adds_eos().into());
    set("clean_up_tokenization_spaces", false.into());
    match &tokenizer.templates[..] {
        [] => {}
        [(name, template)] if name == "default" => {
            _ = set("chat_template", template.as_str().into())
        }
        several => {
            let named = several
                .iter()
                .map(|(name, template)| json!({"name": name, "template": template}))
                .collect();
            set("chat_template", named);
        }
    }
    Value::Object(config)
}
