//! Configurations made from metadata mean the models that the metadata came from.

use crate::common::{canonical, config_of};
use gristmill_arch::{ARCHITECTURES, Config, describe, from_config, program};
use gristmill_tensor::{DType, Metadata};
use gristmill_testkit::golden::assert_golden;
use gristmill_testkit::{MemoryCheckpoint, Options, Tiny, tiny};
use serde_json::Value;

fn model(tiny: Tiny) -> MemoryCheckpoint {
    canonical(&config_of(&tiny), tiny.checkpoint.into_tensors()).unwrap()
}

/// The metadata that a configuration gives.
fn configured(config: &Value) -> Metadata {
    let mut metadata = Metadata::new("config.json");
    let arch = from_config(config, "config.json").unwrap();
    arch.configure(&Config::new(config, "config.json"), &mut metadata).unwrap();
    metadata
}

fn described(model: &MemoryCheckpoint) -> Value {
    Value::Object(describe(model, DType::F16).unwrap())
}

fn options() -> Vec<Options> {
    let plain = Options::default;
    let mut all = vec![
        plain(),
        Options { n_layer: 1, n_head: 2, n_head_kv: 2, n_ctx: 32, ..plain() },
        Options { n_embd: 96, n_ff: 160, ..plain() },
    ];
    for (n_head_kv, tied, biases) in
        [(2, false, false), (1, true, false), (4, false, true), (2, true, true)]
    {
        all.push(Options { n_head_kv, tied, biases, ..plain() });
    }
    all
}

#[test]
fn the_description_of_every_model_gives_its_metadata_again() {
    for arch in ARCHITECTURES {
        for options in options() {
            let model = model(tiny(arch.name(), &options));
            let config = described(&model);
            assert_eq!(from_config(&config, "config.json").unwrap().name(), arch.name());
            let again = configured(&config);
            assert_eq!(sorted(&again), sorted(&model.metadata), "{options:?}: {config:#}");
        }
    }
}

/// The entries as text, in an order that does not depend on who set them when.
fn sorted(metadata: &Metadata) -> Vec<String> {
    let mut lines: Vec<_> = metadata.iter().map(|(k, v)| format!("{k} = {v}")).collect();
    lines.sort();
    lines
}

#[test]
fn the_description_of_a_tiny_model_is_the_golden_one() {
    for arch in ARCHITECTURES {
        let mut model = model(tiny(arch.name(), &Options::default()));
        model.metadata.set("tokenizer.ggml.bos_token_id", 287u32);
        model.metadata.set("tokenizer.ggml.eos_token_id", 286u32);
        model.metadata.set("tokenizer.ggml.padding_token_id", 288u32);
        let config = described(&model);
        assert_golden(&format!("config-{}.json", arch.name()), &format!("{config:#}\n"));
    }
}

/// A tiny LLaMA with more members in its configuration.
fn llama(config: &str) -> MemoryCheckpoint {
    model(tiny("llama", &Options { n_embd: 64, config: config.into(), ..Options::default() }))
}

#[test]
fn every_stretch_of_the_rotary_embedding_is_told_to_both_versions() {
    for (config, kind) in [
        (r#""rope_theta": 500000.0"#, "default"),
        (r#""rope_scaling": { "type": "linear", "factor": 2.5 }"#, "linear"),
        (
            r#""rope_scaling": { "rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4 }"#,
            "yarn",
        ),
        (
            r#""rope_scaling": { "rope_type": "yarn", "factor": 4.0, "beta_fast": 64, "beta_slow": 2,
              "attention_factor": 1.1386, "original_max_position_embeddings": 16 }"#,
            "yarn",
        ),
        (
            r#""rope_theta": 500000.0, "rope_scaling": { "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 }"#,
            "llama3",
        ),
    ] {
        let model = llama(config);
        let config = described(&model);
        let (hp, _) = program(&model).unwrap();
        assert_eq!(config["rope_parameters"]["rope_type"], kind);
        assert_eq!(config["rope_theta"], f64::from(hp.rope_base));
        match kind {
            "default" => assert!(config["rope_scaling"].is_null()),
            _ => assert_eq!(config["rope_scaling"]["rope_type"], kind),
        }
        // Version 4 sees nothing of version 5's keys.
        let mut old = config.clone();
        old.as_object_mut().unwrap().remove("rope_parameters");
        for config in [&config, &old] {
            let divisors = |config| {
                let arch = from_config(config, "config.json").unwrap();
                arch.extra_tensors(&Config::new(config, "config.json")).unwrap()
            };
            let tensors =
                model_tensors(&model).filter(|(info, _)| info.name == "rope_freqs.weight");
            assert_eq!(divisors(config), tensors.collect::<Vec<_>>(), "{config:#}");
            let tensors = model_tensors(&model);
            let again = MemoryCheckpoint::new("again", configured(config), tensors);
            assert_eq!(program(&again).unwrap().0, hp, "{config:#}");
        }
    }
}

fn model_tensors(
    model: &MemoryCheckpoint,
) -> impl Iterator<Item = (gristmill_tensor::TensorInfo, Vec<u8>)> {
    use gristmill_tensor::Checkpoint;
    model
        .tensors()
        .iter()
        .map(|info| (info.clone(), model.tensor(&info.name).unwrap().bytes.to_vec()))
}

#[test]
fn a_window_makes_it_mistral() {
    let config = described(&llama(r#""sliding_window": 16"#));
    assert_eq!((&config["model_type"], &config["sliding_window"]), (&"mistral".into(), &16.into()));
    assert_eq!(config["architectures"][0], "MistralForCausalLM");
}

#[test]
fn what_transformers_has_no_word_for_is_refused_by_name() {
    for (arch, key) in [
        ("llama", "llama.attention.scale"),
        ("gptj", "gptj.logit_scale"),
        ("bloom", "bloom.attention.clamp_kqv"),
    ] {
        let mut model = model(tiny(arch, &Options { n_ff: 128, ..Options::default() }));
        model.metadata.set(key, 0.25f32);
        let message = describe(&model, DType::F32).unwrap_err().to_string();
        assert!(message.contains(&format!("{key} = 0.25")), "{message}");
    }
    let window =
        Options { biases: true, config: r#""sliding_window": 16"#.into(), ..Options::default() };
    let message = describe(&model(tiny("llama", &window)), DType::F32).unwrap_err().to_string();
    assert!(message.contains("llama.attention.sliding_window"), "{message}");
}

#[test]
fn divisors_that_are_not_llama_3s_are_refused() {
    let model = llama(
        r#""rope_theta": 500000.0, "rope_scaling": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 2.0, "original_max_position_embeddings": 96 }"#,
    );
    let message = describe(&model, DType::F32).unwrap_err().to_string();
    assert!(message.contains("rope_freqs.weight") && message.contains("GGUF"), "{message}");
}

#[test]
fn the_stored_type_is_told_where_torch_has_a_name_for_it() {
    let model = model(tiny("gptj", &Options::default()));
    let told = |dtype| describe(&model, dtype).unwrap().get("torch_dtype").cloned();
    assert_eq!(told(DType::BF16), Some("bfloat16".into()));
    assert_eq!(told(DType::Q4_0), None);
}
