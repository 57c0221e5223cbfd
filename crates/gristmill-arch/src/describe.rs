//! A configuration file of Transformers, made from metadata: the way back from GGUF's keys to `config.json`.
//!
//! The tables of [`ConfigKey`]s are walked backwards, so that every number is listed once for both ways; an architecture
//! adds in code what they cannot say. What is written is read again as any configuration is, and must mean the same
//! model: a number that Transformers has no word for is refused by name, never lost.
//!
//! Versions 4 and 5 of Transformers differ in few keys. Where they do, both spellings are written.

use gristmill_tensor::{Checkpoint, DType, MetaValue, Metadata, keys};
use serde_json::{Map, Value};

use crate::config::Kind;
use crate::{Config, ConfigKey, Error, Hparams, Result, architecture_of, program};

/// A configuration file in the making.
#[derive(Debug)]
pub struct Description<'a> {
    metadata: &'a Metadata,
    json: Map<String, Value>,
}

impl Description<'_> {
    /// The file that is described, for messages.
    pub fn origin(&self) -> &str {
        self.metadata.origin()
    }

    /// Says which model of Transformers it is: the `model_type`, and the class that computes logits.
    pub fn model(&mut self, model_type: &str, class: &str) {
        self.set("architectures", vec![class]);
        self.set("model_type", model_type);
    }

    /// Sets a key under the first of its spellings; parts of nested objects are spelled with a dot.
    pub fn set(&mut self, spellings: &str, value: impl Into<Value>) {
        let first = spellings.split('|').next().unwrap_or(spellings);
        let mut parts: Vec<&str> = first.split('.').collect();
        let Some(last) = parts.pop() else { return };
        let mut object = &mut self.json;
        for part in parts {
            let entry = object.entry(part).or_insert(Value::Null);
            if !entry.is_object() {
                *entry = Map::new().into();
            }
            let Value::Object(inner) = entry else { return };
            object = inner;
        }
        object.insert(last.into(), value.into());
    }

    /// The value under the first of the spellings, if it was set.
    pub fn get(&self, spellings: &str) -> Option<&Value> {
        let mut parts = spellings.split('|').next()?.split('.');
        let top = self.json.get(parts.next()?)?;
        parts.try_fold(top, |value, part| value.get(part))
    }

    /// Sets every key of `table` that the metadata has, below the name of the architecture.
    ///
    /// # Errors
    /// When a value is not of the kind that the table says.
    pub fn retell(&mut self, architecture: &str, table: &[ConfigKey]) -> Result<()> {
        for row in table {
            let key = keys::arch(architecture, row.gguf);
            let value = match row.kind {
                Kind::Count => self.metadata.get_u32(&key)?.map(Value::from),
                Kind::Float => self.metadata.get_f32(&key)?.map(decimal),
            };
            if let Some(value) = value {
                self.set(row.json, value);
            }
        }
        Ok(())
    }
}

/// The number that people would write: the shortest decimal that is read as the same 32 bits.
pub(crate) fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().unwrap_or(value.into()).into()
}

/// The `config.json` of a model whose tensors have house names and whose metadata has GGUF's keys, for weights that
/// are stored as `dtype`.
///
/// # Errors
/// As [`program`], and [`Error::Unsupported`] when the metadata has numbers that Transformers has no key for.
pub fn describe(model: &dyn Checkpoint, dtype: DType) -> Result<Map<String, Value>> {
    let metadata = model.metadata();
    let arch = architecture_of(metadata)?;
    let (hp, _) = program(model)?;
    let mut description = Description { metadata, json: Map::new() };
    arch.describe(&hp, model.index(), &mut description)?;
    description.set("vocab_size", hp.n_vocab);
    description.set("tie_word_embeddings", model.find("output.weight").is_none());
    for (key, gguf) in [
        ("bos_token_id", keys::TOKENIZER_BOS_ID),
        ("eos_token_id", keys::TOKENIZER_EOS_ID),
        ("pad_token_id", keys::TOKENIZER_PAD_ID),
    ] {
        // Without a token the key is null, since Transformers would take the first published model's. An id past the
        // embedding names no token.
        let id = metadata.get_u32(gguf)?.filter(|&id| (id as usize) < hp.n_vocab);
        description.set(key, id);
    }
    let torch_dtype = match dtype {
        DType::F32 => Some("float32"),
        DType::F16 => Some("float16"),
        DType::BF16 => Some("bfloat16"),
        _ => None,
    };
    if let Some(torch_dtype) = torch_dtype {
        // Version 5 writes `dtype`, and reads either.
        description.set("torch_dtype", torch_dtype);
    }
    let json = Value::Object(description.json);
    let mut read_back = Metadata::new(metadata.origin());
    arch.configure(&Config::new(&json, metadata.origin()), &mut read_back)?;
    if Hparams::from_metadata(arch, &read_back, model)? != hp {
        return Err(unsaid(arch.name(), metadata, &read_back));
    }
    match json {
        Value::Object(json) => Ok(json),
        _ => Ok(Map::new()),
    }
}

/// Names the keys of an architecture that a configuration could not say.
fn unsaid(arch: &str, metadata: &Metadata, read_back: &Metadata) -> Error {
    let prefix = keys::arch(arch, "");
    let said = |key: &str| read_back.get(key).map(MetaValue::to_string);
    let lost = metadata
        .iter()
        .filter(|(key, value)| key.starts_with(&prefix) && said(key) != Some(value.to_string()));
    let lost: Vec<String> = lost.map(|(key, value)| format!("{key} = {value}")).collect();
    Error::Unsupported {
        file: metadata.origin().into(),
        key: keys::ARCHITECTURE.into(),
        found: format!("{arch} with {}", lost.join(", ")),
        cure: "the models of Transformers have no such variant; keep the file in GGUF".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_spelling_is_written_and_dots_nest() {
        let metadata = Metadata::new("test");
        let mut description = Description { metadata: &metadata, json: Map::new() };
        description.set("a.b|c", 1);
        description.set("a.d", 2);
        description.set("e|f", 3);
        assert_eq!(description.get("a.d|x"), Some(&json!(2)));
        assert_eq!(Value::Object(description.json), json!({ "a": { "b": 1, "d": 2 }, "e": 3 }));
    }

    #[test]
    fn decimals_are_the_ones_that_people_write() {
        assert_eq!(decimal(1e-5), json!(1e-5));
        assert_eq!(decimal(0.1), json!(0.1));
        assert_eq!(decimal(500_000.0), json!(500_000.0));
    }
}
