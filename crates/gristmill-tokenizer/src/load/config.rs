//! The files beside a tokenizer: tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json,
//! added_tokens.json and chat_template.jinja. All are optional.
//!
//! They name special tokens by text or id, sometimes differently. Text from the tokenizer's own files comes first, then
//! the ids of the generation, then those of the model; every end of text that any of them names ends a generation.

use std::path::{Path, PathBuf};

use gristmill_tensor::Limits;
use serde_json::Value;

use crate::special::{ROLES, Role, Special};
use crate::vocab::{Kind, Vocab};
use crate::{Error, Result, TokenId};

/// A named chat template.
pub(crate) type Template = (String, String);

/// What the files beside a tokenizer say.
pub(super) struct Config {
    folder: PathBuf,
    tokenizer: Value,
    special_tokens: Value,
    generation: Value,
    model: Value,
    added_tokens: Value,
    pub(super) templates: Vec<Template>,
}

/// A token beyond the model's own vocabulary.
pub(super) struct AddedToken {
    pub(super) text: String,
    pub(super) id: u64,
    pub(super) special: bool,
}

impl Config {
    pub(super) fn read(folder: &Path, limits: &Limits) -> Result<Config> {
        let json = |name: &str| read_json(&folder.join(name), limits);
        let tokenizer = json("tokenizer_config.json")?;
        let mut templates = templates(tokenizer.get("chat_template"));
        if let Some(template) = read_text(&folder.join("chat_template.jinja"), limits)? {
            templates.retain(|(name, _)| name != "default");
            templates.insert(0, ("default".to_owned(), template));
        }
        Ok(Config {
            folder: folder.to_owned(),
            tokenizer,
            special_tokens: json("special_tokens_map.json")?,
            generation: json("generation_config.json")?,
            model: json("config.json")?,
            added_tokens: json("added_tokens.json")?,
            templates,
        })
    }

    pub(super) fn add_bos(&self) -> Option<bool> {
        self.tokenizer.get("add_bos_token")?.as_bool()
    }

    pub(super) fn add_eos(&self) -> Option<bool> {
        self.tokenizer.get("add_eos_token")?.as_bool()
    }

    pub(super) fn add_prefix_space(&self) -> Option<bool> {
        self.tokenizer.get("add_prefix_space")?.as_bool()
    }

    /// `model_type` of config.json.
    pub(super) fn model_type(&self) -> Option<&str> {
        self.model.get("model_type")?.as_str()
    }

    /// Assigns the roles that the files name.
    pub(super) fn assign(&self, vocab: &Vocab, special: &mut Special) {
        for names in &ROLES {
            for config in [&self.tokenizer, &self.special_tokens] {
                if let Some(id) =
                    config.get(names.config).and_then(token_text).and_then(|text| vocab.id(text))
                {
                    special.propose(names.role, id);
                }
            }
            for config in [&self.generation, &self.model] {
                for id in ids(config.get(format!("{}_id", names.config)), vocab) {
                    special.propose(names.role, id);
                    if names.role == Role::Eos {
                        special.ends.insert(id);
                    }
                }
            }
        }
    }

    /// Tokens that added_tokens.json and `added_tokens_decoder` put behind a vocabulary that has none of its own, in
    /// the order of their ids.
    ///
    /// # Errors
    /// [`Error::Malformed`] when an entry is not a token.
    pub(super) fn added_tokens(&self) -> Result<Vec<AddedToken>> {
        let mut added: Vec<AddedToken> = Vec::new();
        for (text, id) in self.added_tokens.as_object().into_iter().flatten() {
            let id = id.as_u64().ok_or_else(|| self.malformed("added_tokens.json", text))?;
            added.push(AddedToken { text: text.clone(), id, special: false });
        }
        let decoder = self.tokenizer.get("added_tokens_decoder").and_then(Value::as_object);
        for (id, token) in decoder.into_iter().flatten() {
            let malformed = || self.malformed("tokenizer_config.json", id);
            let id = id.parse().map_err(|_| malformed())?;
            let text = token_text(token).ok_or_else(malformed)?.to_owned();
            let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
            added.retain(|other| other.id != id);
            added.push(AddedToken { text, id, special });
        }
        added.sort_by_key(|token| token.id);
        Ok(added)
    }

    /// Adds [`added_tokens`](Self::added_tokens) to a vocabulary; tokens with a role become control tokens.
    pub(super) fn extend(&self, vocab: &mut Vocab) -> Result<()> {
        let file = self.folder.display().to_string();
        for token in self.added_tokens()? {
            let kind = if token.special { Kind::Control } else { Kind::UserDefined };
            let known = vocab.id(&token.text).and_then(|id| vocab.get(id)).map(|token| token.kind);
            // SentencePiece knows its own control and unknown pieces better.
            if matches!(known, Some(Kind::Control | Kind::Unknown | Kind::Byte)) {
                continue;
            }
            let id = vocab.add(&file, "added tokens", &token.text, token.id, kind)?;
            vocab.set_score(id, -1000.0);
        }
        for names in &ROLES {
            for config in [&self.tokenizer, &self.special_tokens] {
                let Some(text) = config.get(names.config).and_then(token_text) else { continue };
                if let Some(id) = vocab.id(text)
                    && vocab.get(id).is_some_and(|token| token.kind != Kind::Unknown)
                {
                    vocab.set_kind(id, Kind::Control);
                }
            }
        }
        Ok(())
    }

    fn malformed(&self, name: &str, entry: &str) -> Error {
        let file = self.folder.join(name).display().to_string();
        Error::malformed(file, format!("added token {entry:?}"), "is not a text with an id")
    }
}

/// A token given as its text or as an object with `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// One id or a list of them, as far as they are in the vocabulary.
fn ids(value: Option<&Value>, vocab: &Vocab) -> Vec<TokenId> {
    let one = value.and_then(Value::as_u64);
    let many = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64);
    one.into_iter()
        .chain(many)
        .filter(|&id| id < vocab.len() as u64)
        .map(|id| id as TokenId)
        .collect()
}

/// The templates of tokenizer_config.json: one text, or a list of `{name, template}`.
fn templates(value: Option<&Value>) -> Vec<Template> {
    if let Some(template) = value.and_then(Value::as_str) {
        return vec![("default".to_owned(), template.to_owned())];
    }
    let list = value.and_then(Value::as_array).into_iter().flatten();
    let text = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    list.filter_map(|entry| Some((text(entry, "name")?, text(entry, "template")?))).collect()
}

/// The bytes of a file; `None` when it is not there.
///
/// # Errors
/// [`Error::File`] when it cannot be read or is larger than `limit`.
pub(super) fn read_bytes(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(gristmill_tensor::Error::io(path)(error).into()),
    };
    Limits::check(&path.display().to_string(), "the size in bytes", limit, size)?;
    Ok(Some(std::fs::read(path).map_err(gristmill_tensor::Error::io(path))?))
}

/// The text of a file; `None` when it is not there.
///
/// # Errors
/// [`Error::File`] as for [`read_bytes`], [`Error::Malformed`] when it is not UTF-8.
pub(super) fn read_text(path: &Path, limits: &Limits) -> Result<Option<String>> {
    let Some(bytes) = read_bytes(path, limits.header_bytes)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::malformed(path.display().to_string(), format!("byte {at}"), "is not UTF-8")
    })?;
    Ok(Some(text))
}

/// A JSON file; null when it is not there.
pub(super) fn read_json(path: &Path, limits: &Limits) -> Result<Value> {
    let Some(text) = read_text(path, limits)? else { return Ok(Value::Null) };
    serde_json::from_str(&text).map_err(|error| Error::json(path, &error))
}
