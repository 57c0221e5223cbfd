//! Metadata and configurations that lie: every one is refused with a message, before anything is computed from it.

use crate::common::{canonical, config_of};
use gristmill_arch::{ARCHITECTURES, Config, from_config, program};
use gristmill_tensor::{DType, MetaValue, TensorInfo};
use gristmill_testkit::{MemoryCheckpoint, Options, Rng, tiny};
use serde_json::{Value, json};

fn sound(arch: &str) -> MemoryCheckpoint {
    let tiny = tiny(arch, &Options::default());
    let config = config_of(&tiny);
    canonical(&config, tiny.checkpoint.into_tensors()).unwrap()
}

#[test]
fn impossible_numbers_are_refused_with_their_key() {
    let cases: &[(&str, &str, MetaValue)] = &[
        ("llama", "attention.head_count", 0u32.into()),
        ("llama", "attention.head_count", 3u32.into()),
        ("llama", "attention.head_count", u32::MAX.into()),
        ("llama", "attention.head_count", (-4i32).into()),
        ("llama", "attention.head_count", 4.0f32.into()),
        ("llama", "attention.head_count", vec![4u32, 4].into()),
        ("llama", "attention.head_count_kv", 0u32.into()),
        ("llama", "attention.head_count_kv", 3u32.into()),
        ("llama", "attention.head_count_kv", 8u32.into()),
        ("llama", "attention.key_length", 1u32.into()),
        ("llama", "attention.value_length", 4u32.into()),
        ("llama", "block_count", 0u32.into()),
        ("llama", "block_count", u64::MAX.into()),
        ("llama", "block_count", 513u32.into()),
        ("llama", "context_length", 0u32.into()),
        ("llama", "context_length", "many".into()),
        ("llama", "embedding_length", 31u32.into()),
        ("llama", "embedding_length", u64::MAX.into()),
        ("llama", "feed_forward_length", 63u32.into()),
        ("llama", "vocab_size", 1u32.into()),
        ("llama", "rope.dimension_count", 7u32.into()),
        ("llama", "rope.dimension_count", 10u32.into()),
        ("llama", "rope.freq_base", 0.0f32.into()),
        ("llama", "rope.freq_base", f32::NAN.into()),
        ("llama", "rope.scaling.factor", f32::INFINITY.into()),
        ("llama", "rope.scaling.factor", (-2.0f32).into()),
        ("llama", "attention.layer_norm_rms_epsilon", (-1e-5f32).into()),
        ("llama", "attention.layer_norm_rms_epsilon", true.into()),
        ("llama", "attention.sliding_window", (-1i32).into()),
        ("gptj", "rope.dimension_count", 3u32.into()),
        ("gptj", "rope.dimension_count", 0u32.into()),
        ("gptj", "attention.layer_norm_epsilon", f32::NAN.into()),
        ("gptneox", "use_parallel_residual", 1u32.into()),
        ("falcon", "attention.head_count_kv", 3u32.into()),
        ("gpt2", "context_length", 63u32.into()),
        ("mpt", "attention.max_alibi_bias", (-8.0f32).into()),
        ("mpt", "attention.max_alibi_bias", f32::INFINITY.into()),
        ("mpt", "attention.clamp_kqv", f32::NAN.into()),
        ("mpt", "attention.scale", 1e9f32.into()),
        ("mpt", "logit_scale", f32::NEG_INFINITY.into()),
    ];
    for (arch, suffix, value) in cases {
        let mut checkpoint = sound(arch);
        checkpoint.metadata.set(format!("{arch}.{suffix}"), value.clone());
        match program(&checkpoint) {
            Ok(_) => panic!("{arch}.{suffix} = {value} was accepted"),
            // More blocks than there are show as missing tensors, other head widths as shapes that do not fit.
            Err(error) => {
                let message = error.to_string();
                let told = message.contains(suffix)
                    || message.contains("tensor blk.")
                    || message.contains("attend: ")
                    || message.contains("rope: ")
                    || (*suffix == "attention.key_length" && message.contains("dimension_count"));
                assert!(told, "{arch}.{suffix} = {value}: {message}");
            }
        }
    }
}

#[test]
fn keys_that_are_needed_are_missed_by_name() {
    for arch in ARCHITECTURES.iter().map(|arch| arch.name()) {
        for suffix in ["attention.head_count", "embedding_length", "block_count", "context_length"]
        {
            let key = format!("{arch}.{suffix}");
            let mut checkpoint = sound(arch);
            checkpoint.metadata.remove(&key).unwrap();
            let message = program(&checkpoint).unwrap_err().to_string();
            assert!(message.contains(&key) && message.contains("missing"), "{message}");
        }
    }
    let mut checkpoint = sound("gptneox");
    checkpoint.metadata.remove("gptneox.use_parallel_residual").unwrap();
    let message = program(&checkpoint).unwrap_err().to_string();
    assert!(message.contains("use_parallel_residual is missing"), "{message}");
}

#[test]
fn numbers_of_any_integer_type_are_the_same() {
    let expected = program(&sound("llama")).unwrap();
    for value in [MetaValue::U8(4), MetaValue::I32(4), MetaValue::U64(4), MetaValue::I64(4)] {
        let mut checkpoint = sound("llama");
        checkpoint.metadata.set("llama.attention.head_count", value);
        assert_eq!(program(&checkpoint).unwrap(), expected);
    }
}

#[test]
fn shapes_that_contradict_the_metadata_are_refused() {
    for arch in ARCHITECTURES.iter().map(|arch| arch.name()) {
        let checkpoint = sound(arch);
        let metadata = checkpoint.metadata.clone();
        let whole = checkpoint.into_tensors();
        for at in 0..whole.len() {
            let mut tensors = whole.clone();
            let (info, bytes) = &mut tensors[at];
            let name = info.name.clone();
            // One row, or one element, less.
            let mut dims = info.shape.dims().to_vec();
            bytes.truncate(bytes.len() / dims[0] * (dims[0] - 1));
            dims[0] -= 1;
            info.shape = gristmill_tensor::Shape::new(dims);
            let result = program(&MemoryCheckpoint::new("tiny", metadata.clone(), tensors));
            assert!(result.is_err(), "{arch}: {name}");
        }
    }
}

#[test]
fn more_tokens_than_the_embedding_has_rows_are_refused() {
    for (n_tokens, fits) in [(288, true), (280, true), (289, false)] {
        let mut checkpoint = sound("gptj");
        checkpoint.metadata.set("tokenizer.ggml.tokens", vec![String::new(); n_tokens]);
        assert_eq!(program(&checkpoint).is_ok(), fits, "{n_tokens}");
    }
}

#[test]
fn divisors_of_frequencies_must_be_positive_and_of_the_right_number() {
    for (values, sound_ones) in [
        (vec![1.0f32, 2.0, 4.0, 8.0], true),
        (vec![1.0, 2.0, 4.0], false),
        (vec![1.0, 0.0, 4.0, 8.0], false),
        (vec![1.0, f32::NAN, 4.0, 8.0], false),
        (vec![1.0, -2.0, 4.0, 8.0], false),
    ] {
        let checkpoint = sound("llama");
        let metadata = checkpoint.metadata.clone();
        let mut tensors = checkpoint.into_tensors();
        let info = TensorInfo::new("rope_freqs.weight", DType::F32, [values.len()]);
        tensors.push((info, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
        let result = program(&MemoryCheckpoint::new("tiny", metadata, tensors));
        assert_eq!(result.is_ok(), sound_ones, "{values:?}");
    }
}

/// Something that does not belong where it is put.
fn odd(rng: &mut Rng) -> Value {
    let values = [
        json!(null),
        json!(-1),
        json!(0),
        json!(3),
        json!(u64::MAX),
        json!(1e308),
        json!(0.5),
        json!("text"),
        json!([1, 2]),
        json!({ "rope_type": "yarn" }),
        json!(true),
    ];
    values[rng.below(values.len())].clone()
}

#[test]
fn no_configuration_makes_a_panic() {
    let mut rng = Rng::new(7);
    for arch in ARCHITECTURES.iter().map(|arch| arch.name()) {
        let model = tiny(arch, &Options::default());
        let whole = config_of(&model);
        let tensors = model.checkpoint.into_tensors();
        let names: Vec<&String> = whole.as_object().unwrap().keys().collect();
        let mut refused = 0;
        for _ in 0..400 {
            let mut config = whole.clone();
            for _ in 0..=rng.below(3) {
                let name = names[rng.below(names.len())];
                config[name] = odd(&mut rng);
            }
            config["rope_scaling"] = odd(&mut rng);
            if from_config(&config, "config.json").is_err() {
                continue;
            }
            let result = canonical(&config, tensors.clone()).and_then(|c| program(&c));
            refused += usize::from(result.is_err());
        }
        assert!(refused > 100, "{arch}: {refused}");
    }
}

#[test]
fn a_table_is_not_computed_for_a_head_of_billions() {
    let scaling = r#""rope_scaling": { "rope_type": "llama3" }"#;
    for more in [r#""head_dim": 4294967294"#, r#""hidden_size": 4294967292"#] {
        let config = format!("{more}, {scaling}");
        let config = config_of(&tiny("llama", &Options { config, ..Options::default() }));
        let arch = from_config(&config, "config.json").unwrap();
        let error = arch.extra_tensors(&Config::new(&config, "config.json")).unwrap_err();
        assert!(error.to_string().contains("16384"), "{error}");
    }
}

#[test]
fn variants_that_the_graph_does_not_compute_are_refused() {
    for (arch, more, part) in [
        ("bloom", r#""apply_residual_connection_post_layernorm": true"#, "post_layernorm"),
        ("falcon", r#""alibi": true"#, "alibi"),
        ("falcon", r#""bias": true"#, "bias"),
        ("falcon", r#""parallel_attn": false"#, "parallel_attn"),
        ("gpt2", r#""activation_function": "relu""#, "relu"),
        ("gpt2", r#""scale_attn_by_inverse_layer_idx": true"#, "inverse_layer_idx"),
        ("gptj", r#""activation_function": "relu""#, "relu"),
        ("gptneox", r#""hidden_act": "silu""#, "silu"),
        ("gptneox", r#""attention_bias": false"#, "attention_bias"),
        ("llama", r#""hidden_act": "gelu""#, "gelu"),
        ("llama", r#""num_local_experts": 8"#, "num_local_experts"),
        ("mpt", r#""norm_type": "rmsnorm""#, "rmsnorm"),
        ("mpt", r#""attn_config": { "prefix_lm": true }"#, "prefix_lm"),
        ("mpt", r#""attn_config": { "rope": true }"#, "rope"),
        ("mpt", r#""attn_config": { "attn_type": "linear" }"#, "attn_type"),
        ("mpt", r#""ffn_config": { "ffn_type": "mptglu" }"#, "mptglu"),
        ("mpt", r#""logit_scale": "sqrt""#, "logit_scale"),
    ] {
        let tiny = tiny(arch, &Options { config: more.into(), ..Options::default() });
        let config = config_of(&tiny);
        let arch = from_config(&config, "config.json").unwrap();
        let mut metadata = gristmill_tensor::Metadata::new("config.json");
        let error =
            arch.configure(&Config::new(&config, "config.json"), &mut metadata).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
