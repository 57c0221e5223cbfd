//! Checked access to a model's `config.json`, and its translation into GGUF's keys.
//!
//! Most of the translation is a table of [`ConfigKey`]s, which an architecture lays out like the listing of a
//! checkpoint: where a number stands in JSON, where it stands in GGUF, what kind of number it is. Keys that changed
//! their names over the years are written with all spellings, `"num_hidden_layers|n_layers"`; parts of nested objects
//! with a dot, `"attn_config.clip_qkv"`. A `null` is as good as an absent key, as it is in Transformers.

use gristmill_tensor::{Metadata, keys};
use serde_json::Value;

use crate::{Error, Result};

/// A configuration file: Hugging Face's `config.json` or Meta's `params.json`.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    json: &'a Value,
    file: &'a str,
}

impl<'a> Config<'a> {
    /// The parsed `json` of `file`, which is named in messages.
    pub fn new(json: &'a Value, file: &'a str) -> Config<'a> {
        Config { json, file }
    }

    /// The file, for messages.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// The value under the first spelling that has one, with that spelling.
    fn find<'k>(&self, spellings: &'k str) -> Option<(&'k str, &'a Value)> {
        spellings.split('|').find_map(|path| {
            let value = path.split('.').try_fold(self.json, |json, part| json.get(part))?;
            (!value.is_null()).then_some((path, value))
        })
    }

    /// The value under the first spelling that has one.
    pub fn get(&self, spellings: &str) -> Option<&'a Value> {
        self.find(spellings).map(|(_, value)| value)
    }

    fn typed<T>(
        &self,
        spellings: &str,
        rule: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some((key, value)) = self.find(spellings) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.bad(key, value, rule))
    }

    /// A count that fits GGUF's 32 bits.
    ///
    /// # Errors
    /// [`Error::BadValue`] for anything else.
    pub fn count(&self, spellings: &str) -> Result<Option<u32>> {
        self.typed(spellings, "it should be a count below 2^32", |value| {
            value.as_u64()?.try_into().ok()
        })
    }

    /// A number.
    ///
    /// # Errors
    /// [`Error::BadValue`] for anything else, and for numbers that are not finite in 32 bits.
    pub fn float(&self, spellings: &str) -> Result<Option<f32>> {
        self.typed(spellings, "it should be a finite number", |value| {
            Some(value.as_f64()? as f32).filter(|v| v.is_finite())
        })
    }

    /// A number in double precision, for products of which the fraction is dropped.
    ///
    /// # Errors
    /// As [`float`](Self::float).
    pub fn double(&self, spellings: &str) -> Result<Option<f64>> {
        self.float(spellings)?;
        Ok(self.get(spellings).and_then(Value::as_f64))
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`Error::BadValue`] for anything else.
    pub fn flag(&self, spellings: &str) -> Result<Option<bool>> {
        self.typed(spellings, "it should be true or false", Value::as_bool)
    }

    /// Text.
    ///
    /// # Errors
    /// [`Error::BadValue`] for anything else.
    pub fn text(&self, spellings: &str) -> Result<Option<&'a str>> {
        self.typed(spellings, "it should be text", Value::as_str)
    }

    /// A count that must be there.
    ///
    /// # Errors
    /// [`Error::MissingKey`], and as [`count`](Self::count).
    pub fn needed_count(&self, spellings: &str) -> Result<u32> {
        self.count(spellings)?.ok_or_else(|| self.missing(spellings))
    }

    /// Accepts an absent key and the values listed, and refuses all others: for choices of which this house makes one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming what would be accepted.
    pub fn only(&self, spellings: &str, accepted: &[Value]) -> Result<()> {
        let Some((key, value)) = self.find(spellings) else { return Ok(()) };
        if accepted.contains(value) {
            return Ok(());
        }
        let list: Vec<String> = accepted.iter().map(Value::to_string).collect();
        Err(self.unsupported(key, value, &format!("supported: {}", list.join(", "))))
    }

    /// Writes `general.architecture` and every key of `table` below it.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::BadValue`].
    pub fn translate(
        &self,
        architecture: &str,
        table: &[ConfigKey],
        metadata: &mut Metadata,
    ) -> Result<()> {
        metadata.set(keys::ARCHITECTURE, architecture);
        for row in table {
            let key = keys::arch(architecture, row.gguf);
            let absent = match row.absent {
                Absent::Refuse => Err(self.missing(row.json)),
                Absent::Skip => Ok(None),
                Absent::Default(value) => Ok(Some(value)),
            };
            match row.kind {
                Kind::Count => match self.count(row.json)? {
                    Some(value) => metadata.set(key, value),
                    None => absent?.into_iter().for_each(|v| metadata.set(&*key, v as u32)),
                },
                Kind::Float => match self.float(row.json)? {
                    Some(value) => metadata.set(key, value),
                    None => absent?.into_iter().for_each(|v| metadata.set(&*key, v as f32)),
                },
            }
        }
        Ok(())
    }

    /// An [`Error::MissingKey`].
    pub fn missing(&self, spellings: &str) -> Error {
        let key = spellings.replace('|', " or ");
        let hint = "take the complete configuration from where the model was published".into();
        Error::MissingKey { file: self.file.into(), key, hint }
    }

    /// An [`Error::BadValue`].
    pub fn bad(&self, key: &str, found: &Value, rule: &str) -> Error {
        let (file, key, rule) = (self.file.into(), key.into(), rule.into());
        Error::BadValue { file, key, found: found.to_string(), rule }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(&self, key: &str, found: &Value, cure: &str) -> Error {
        let (file, key, cure) = (self.file.into(), key.into(), cure.into());
        Error::Unsupported { file, key, found: found.to_string(), cure }
    }
}

/// Accepts either form of the Gaussian error linear unit under any of its names, and refuses other activations.
///
/// The graph computes the form that most models of its architecture name, as llama.cpp does: GGUF has no key for the
/// others', and the two forms are nowhere further apart than 5e-4.
pub(crate) fn accept_any_gelu(config: &Config<'_>, key: &str) -> Result<()> {
    config.only(key, &["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"].map(Value::from))
}

/// One row of a translation table.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    pub(crate) json: &'static str,
    pub(crate) gguf: &'static str,
    pub(crate) kind: Kind,
    absent: Absent,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Count,
    Float,
}

#[derive(Clone, Copy, Debug)]
enum Absent {
    Refuse,
    Skip,
    Default(f64),
}

impl ConfigKey {
    /// A count that must be there: spellings in JSON, suffix in GGUF.
    pub const fn count(json: &'static str, gguf: &'static str) -> ConfigKey {
        ConfigKey { json, gguf, kind: Kind::Count, absent: Absent::Refuse }
    }

    /// A number that must be there: spellings in JSON, suffix in GGUF.
    pub const fn float(json: &'static str, gguf: &'static str) -> ConfigKey {
        ConfigKey { json, gguf, kind: Kind::Float, absent: Absent::Refuse }
    }

    /// The same, but nothing is written when it is absent.
    pub const fn optional(self) -> ConfigKey {
        ConfigKey { absent: Absent::Skip, ..self }
    }

    /// The same, but `value` is written when it is absent.
    pub const fn or(self, value: f64) -> ConfigKey {
        ConfigKey { absent: Absent::Default(value), ..self }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_found_under_any_spelling_and_inside_objects() {
        let json = json!({ "n_layers": 3, "attn_config": { "clip_qkv": 6 }, "n_inner": null });
        let config = Config::new(&json, "config.json");
        assert_eq!(config.count("num_hidden_layers|n_layers").unwrap(), Some(3));
        assert_eq!(config.float("attn_config.clip_qkv").unwrap(), Some(6.0));
        assert_eq!(config.count("n_inner").unwrap(), None);
    }

    #[test]
    fn values_of_other_types_are_refused_with_file_and_key() {
        let json = json!({ "a": -1, "b": "x", "c": 1e300, "d": 4.5, "e": 5_000_000_000u64 });
        let config = Config::new(&json, "config.json");
        for key in ["a", "b", "d", "e"] {
            let message = config.count(key).unwrap_err().to_string();
            assert!(message.starts_with(&format!("config.json: {key} is ")), "{message}");
        }
        assert!(config.float("b").is_err());
        assert!(config.float("c").is_err());
        assert!(config.flag("b").is_err());
        assert!(config.text("a").is_err());
    }

    #[test]
    fn the_table_writes_defaults_skips_options_and_names_what_is_missing() {
        let json = json!({ "n_embd": 8 });
        let config = Config::new(&json, "config.json");
        let mut metadata = Metadata::new("config.json");
        let table = [
            ConfigKey::count("n_embd", "embedding_length"),
            ConfigKey::count("n_inner", "feed_forward_length").optional(),
            ConfigKey::float("eps", "eps").or(0.5),
        ];
        config.translate("gptj", &table, &mut metadata).unwrap();
        assert_eq!(metadata.get_str(keys::ARCHITECTURE).unwrap(), Some("gptj"));
        assert_eq!(metadata.get_usize("gptj.embedding_length").unwrap(), Some(8));
        assert_eq!(metadata.get_f32("gptj.eps").unwrap(), Some(0.5));
        assert_eq!(metadata.len(), 3);
        let missing = [ConfigKey::count("n_head|num_heads", "attention.head_count")];
        let message = config.translate("gptj", &missing, &mut metadata).unwrap_err().to_string();
        assert!(message.contains("n_head or num_heads is missing"), "{message}");
    }
}
