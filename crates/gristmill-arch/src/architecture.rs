//! What an architecture must tell, and the list of those that do.

use gristmill_graph::{Graph, Var};
use gristmill_tensor::{HeaderLayout, Metadata, TensorIndex, TensorInfo, keys};
use serde_json::{Value, json};

use crate::{
    Config, Description, Dialect, Error, Hparams, Result, Spelling, WeightRule, is_ignored,
    match_weight,
};

/// Everything the house knows about one family of models.
pub trait Architecture: Sync {
    /// The name, as `general.architecture` has it.
    fn name(&self) -> &'static str;

    /// The values of `model_type` in `config.json` that mean this architecture.
    fn model_types(&self) -> &'static [&'static str];

    /// What people call the models.
    fn title(&self) -> &'static str;

    /// Translates a configuration file into metadata under GGUF's keys, `general.architecture` included.
    ///
    /// # Errors
    /// When a key is missing or wrong, and when it asks for a variant that the graph does not compute.
    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()>;

    /// The way back: writes the configuration of a model of these numbers, with these tensors under house names. What
    /// is the same for all architectures is written by [`describe`](crate::describe()).
    ///
    /// # Errors
    /// When Transformers has no word for a variant of the model.
    fn describe(
        &self,
        hp: &Hparams,
        tensors: &TensorIndex,
        description: &mut Description<'_>,
    ) -> Result<()>;

    /// Suffixes of the keys without which a model of this architecture cannot be run, besides those that all need.
    fn required(&self) -> &'static [&'static str] {
        &[]
    }

    /// Every weight, by its house name and the names found in the wild.
    fn weights(&self) -> &'static [WeightRule];

    /// Whether models with these tensors, which have house names, go by this one of a weight's several spellings.
    fn goes_by(&self, _spelling: &Spelling, _tensors: &TensorIndex) -> bool {
        true
    }

    /// Ends of the names of tensors that checkpoints hold without need: buffers and tables that are computed anew.
    fn ignored(&self) -> &'static [&'static str] {
        &[]
    }

    /// Tensors that exist only in the configuration until a model is converted, under their house names, with their
    /// bytes.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    fn extra_tensors(&self, _config: &Config<'_>) -> Result<Vec<(TensorInfo, Vec<u8>)>> {
        Ok(Vec::new())
    }

    /// The headers of legacy ggml files of this architecture, the one that is written first.
    fn ggml_headers(&self) -> &'static [HeaderLayout] {
        &[]
    }
    /// Adds to `metadata` what legacy headers leave to the tensors, which have house names here.
    ///
    /// # Errors
    /// When a tensor that would tell is missing or of a shape that tells nothing.
    fn infer(&self, tensors: &TensorIndex, metadata: &mut Metadata) -> Result<()> {
        infer_n_ff(self.name(), tensors, metadata);
        Ok(())
    }
    /// Whether a configuration file that names no model type is one of this architecture's.
    fn recognizes(&self, _config: &Config<'_>) -> bool {
        false
    }

    /// The forward pass, from token ids to logits.
    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g>;
}

/// Every architecture. To add one, write its file and its line here.
pub static ARCHITECTURES: &[&dyn Architecture] = &[
    &crate::bloom::Bloom,
    &crate::falcon::Falcon,
    &crate::gpt2::Gpt2,
    &crate::gptj::GptJ,
    &crate::gptneox::GptNeoX,
    &crate::llama::Llama,
    &crate::mpt::Mpt,
];

/// The headers of legacy ggml files of every architecture.
pub fn ggml_headers() -> Vec<&'static HeaderLayout> {
    ARCHITECTURES.iter().flat_map(|arch| arch.ggml_headers()).collect()
}

/// Whether a legacy ggml file of the architecture called `arch` may hold a tensor of this name.
pub fn is_ggml_tensor(arch: &str, name: &str) -> bool {
    find(arch).is_some_and(|arch| {
        match_weight(arch, Dialect::Ggml, name).is_some() || is_ignored(arch, name)
    })
}

/// Sets the width of the feed-forward layer by its matrix, where nothing has set it.
pub(crate) fn infer_n_ff(arch: &str, tensors: &TensorIndex, metadata: &mut Metadata) {
    let key = keys::arch(arch, keys::FEED_FORWARD_LENGTH);
    if let Some(up) = tensors.find("blk.0.ffn_up.weight").filter(|_| !metadata.contains(&key)) {
        metadata.set(key, up.shape.rows() as u32);
    }
}

/// The architecture that `general.architecture` calls `name`.
pub fn find(name: &str) -> Option<&'static dyn Architecture> {
    ARCHITECTURES.iter().copied().find(|arch| arch.name() == name)
}

/// The architecture that a file's metadata names.
///
/// # Errors
/// [`Error::MissingKey`], [`Error::UnknownArchitecture`].
pub fn architecture_of(metadata: &Metadata) -> Result<&'static dyn Architecture> {
    let file = metadata.origin();
    let name = metadata.get_str(keys::ARCHITECTURE)?.ok_or_else(|| Error::MissingKey {
        file: file.into(),
        key: keys::ARCHITECTURE.into(),
        hint: "give the folder with its config.json, or say which architecture it is".into(),
    })?;
    find(name).ok_or_else(|| Error::UnknownArchitecture {
        file: file.into(),
        found: format!("{} {name:?}", keys::ARCHITECTURE),
        known: list(ARCHITECTURES.iter().map(|arch| arch.name())),
    })
}

/// The architecture of the configuration `file`: by its `model_type`, else by the class in `architectures`, else by
/// the shape of the file.
///
/// # Errors
/// [`Error::UnknownArchitecture`] with the list of those known; [`Error::Unsupported`] for checkpoints whose weights
/// were quantized by another tool.
pub fn from_config(config: &Value, file: &str) -> Result<&'static dyn Architecture> {
    let config = Config::new(config, file);
    if let Some(quantization) = config.get("quantization_config") {
        let method = quantization.get("quant_method").unwrap_or(quantization);
        let cure = "take the model's unquantized weights instead";
        return Err(config.unsupported("quantization_config", method, cure));
    }
    let model_type = config.get("model_type").and_then(Value::as_str).map(str::to_owned);
    let class = config.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let by_type = |name: &String| {
        ARCHITECTURES.iter().find(|arch| arch.model_types().contains(&name.as_str()))
    };
    let found = (model_type.as_ref().and_then(by_type))
        .or_else(|| class.map(type_of_class).as_ref().and_then(by_type))
        .or_else(|| ARCHITECTURES.iter().find(|arch| arch.recognizes(&config)));
    found.copied().ok_or_else(|| Error::UnknownArchitecture {
        file: file.into(),
        found: match (model_type, class) {
            (None, None) => "a configuration without model_type".into(),
            (model_type, class) => {
                format!("{}", json!({ "model_type": model_type, "class": class }))
            }
        },
        known: list(ARCHITECTURES.iter().flat_map(|arch| arch.model_types()).copied()),
    })
}

/// `GPTJForCausalLM` → `gptj`: the model type that a class of Transformers implies.
fn type_of_class(class: &str) -> String {
    class.split_once("For").map_or(class, |(model, _)| model).to_lowercase()
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(config: &Value) -> &'static str {
        from_config(config, "config.json").unwrap().name()
    }

    #[test]
    fn names_and_model_types_are_unique() {
        let mut names: Vec<_> = ARCHITECTURES.iter().flat_map(|a| a.model_types()).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        for arch in ARCHITECTURES {
            assert_eq!(find(arch.name()).unwrap().title(), arch.title());
        }
    }

    #[test]
    fn the_model_type_decides_then_the_class_then_the_shape() {
        assert_eq!(name_of(&json!({ "model_type": "mistral", "architectures": ["X"] })), "llama");
        assert_eq!(name_of(&json!({ "architectures": ["GPTJForCausalLM"] })), "gptj");
        assert_eq!(name_of(&json!({ "architectures": ["LLaMAForCausalLM"] })), "llama");
        assert_eq!(
            name_of(&json!({ "model_type": "", "architectures": ["MPTForCausalLM"] })),
            "mpt"
        );
        assert_eq!(name_of(&json!({ "dim": 8, "n_layers": 1, "n_heads": 2 })), "llama");
    }

    #[test]
    fn an_unknown_model_is_named_beside_those_known() {
        let config = json!({ "model_type": "xlnet", "architectures": ["XLNetLMHeadModel"] });
        let message = from_config(&config, "x/config.json").err().unwrap().to_string();
        for part in ["x/config.json", "xlnet", "gptj", "llama", "mistral", "mpt"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(from_config(&json!([1]), "config.json").is_err());
    }

    #[test]
    fn weights_quantized_by_others_are_refused_with_a_cure() {
        let config =
            json!({ "model_type": "llama", "quantization_config": { "quant_method": "gptq" } });
        let message = from_config(&config, "config.json").err().unwrap().to_string();
        assert!(message.contains("gptq") && message.contains("unquantized"), "{message}");
    }
}
