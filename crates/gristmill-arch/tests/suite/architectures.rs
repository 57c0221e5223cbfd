//! What holds for every architecture: whoever adds one to the registry gets these tests.

use std::collections::BTreeMap;

use crate::common::{canonical, config_of, run};
use gristmill_arch::{
    ARCHITECTURES, Dialect, Error, Transform, find, match_weight, program, role_of, spell,
};
use gristmill_tensor::{DType, TensorIndex, TensorInfo};
use gristmill_testkit::golden::assert_golden;
use gristmill_testkit::{MemoryCheckpoint, Options, tiny};

#[test]
fn names_lead_to_the_house_and_back_in_every_dialect() {
    let none = TensorIndex::new(Vec::new()).unwrap();
    for arch in ARCHITECTURES {
        for n_layer in [1, 2, 40] {
            for dialect in [Dialect::HuggingFace, Dialect::Ggml] {
                let mut houses = BTreeMap::new();
                for rule in arch.weights() {
                    for spelling in rule.spellings.iter().filter(|s| s.dialect == dialect) {
                        for il in 0..n_layer {
                            let of_block = |name: &str| name.replace("{}", &il.to_string());
                            let (house, spelled) = (of_block(rule.name), of_block(spelling.name));
                            let matched = match_weight(*arch, dialect, &spelled).unwrap();
                            assert_eq!(matched.name, house, "{spelled}");
                            assert_eq!(matched.transform, spelling.transform, "{spelled}");
                            assert_eq!(role_of(*arch, &house), Some(rule.role));
                            let other = houses.insert(spelled, house.clone());
                            assert!(other.is_none_or(|other| other == house));
                        }
                    }
                }
                // A weight may have several spellings; the first leads back.
                for house in houses.values() {
                    let (spelled, _) = spell(*arch, dialect, house, &none).unwrap();
                    assert_eq!(houses.get(&spelled), Some(house), "{} {dialect:?}", arch.name());
                }
            }
        }
    }
}

#[test]
fn house_names_stand_for_themselves() {
    for arch in ARCHITECTURES {
        for rule in arch.weights() {
            let name = rule.name.replace("{}", "7");
            let matched = match_weight(*arch, Dialect::HuggingFace, &name).unwrap();
            assert_eq!((matched.name, matched.transform), (name, Transform::Keep));
        }
    }
}

#[test]
fn the_program_of_a_tiny_model_is_the_golden_one() {
    for arch in ARCHITECTURES {
        let (_, program) = run(tiny(arch.name(), &Options::default())).unwrap();
        assert_golden(&format!("program-{}.txt", arch.name()), &program.to_string());
    }
}

#[test]
fn metadata_of_a_tiny_model_is_the_golden_one() {
    for arch in ARCHITECTURES {
        let tiny = tiny(arch.name(), &Options::default());
        let checkpoint = canonical(&config_of(&tiny), []).unwrap();
        let lines = checkpoint
            .metadata
            .iter()
            .map(|(key, value)| format!("{key}: {} = {value}\n", value.type_name()));
        assert_golden(&format!("metadata-{}.txt", arch.name()), &lines.collect::<String>());
    }
}

#[test]
fn every_weight_of_a_tiny_model_is_used_and_needed() {
    for arch in ARCHITECTURES {
        let tiny = tiny(arch.name(), &Options::default());
        let config = config_of(&tiny);
        let tensors = tiny.checkpoint.into_tensors();
        let (_, whole) = program(&canonical(&config, tensors.clone()).unwrap()).unwrap();
        assert_eq!(whole.weights.len(), tensors.len());
        for left_out in 0..tensors.len() {
            let mut fewer = tensors.clone();
            let (info, _) = fewer.remove(left_out);
            let house = match_weight(*arch, Dialect::HuggingFace, &info.name).unwrap().name;
            match program(&canonical(&config, fewer).unwrap()) {
                // The head may be left to the embedding.
                Ok(_) => assert_eq!(house, "output.weight"),
                Err(error) => assert!(error.to_string().contains(&house), "{error}"),
            }
        }
    }
}

#[test]
fn a_weight_of_another_architecture_is_not_overlooked() {
    for arch in ARCHITECTURES {
        let tiny = tiny(arch.name(), &Options::default());
        let config = config_of(&tiny);
        let checkpoint = canonical(&config, tiny.checkpoint.into_tensors()).unwrap();
        let metadata = checkpoint.metadata.clone();
        let mut tensors = checkpoint.into_tensors();
        let name = "blk.0.attn_post_norm.weight";
        tensors.push((TensorInfo::new(name, DType::F32, [1]), vec![0; 4]));
        let error = program(&MemoryCheckpoint::new("tiny", metadata, tensors)).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn variants_are_read_from_the_tensors_and_the_configuration() {
    let plain = Options::default();
    let llama = Options { n_head_kv: 2, tied: true, biases: true, ..plain.clone() };
    let (hp, program) = run(tiny("llama", &llama)).unwrap();
    let text = program.to_string();
    assert_eq!((hp.n_head, hp.n_head_kv, hp.head_dim), (4, 2, 8));
    assert!(text.contains("blk.0.attn_q.weight blk.0.attn_q.bias"), "{text}");
    assert!(text.contains("token_embd.weight\nlogits"), "the head is the embedding: {text}");

    let more = r#""logit_scale": "inv_sqrt_d_model", "expansion_ratio": 2.0"#;
    let mpt = Options { n_head_kv: 2, biases: true, config: more.into(), ..plain.clone() };
    let (hp, program) = run(tiny("mpt", &mpt)).unwrap();
    let text = program.to_string();
    assert_eq!((hp.n_head_kv, hp.alibi_max, hp.clamp_kqv), (2, Some(8.0), Some(4.0)));
    assert!(text.contains("blk.1.ffn_up.weight blk.1.ffn_up.bias"));
    assert!(text.contains("scale %"), "the logits are scaled: {text}");

    let mistral = r#""model_type": "mistral", "sliding_window": 16"#;
    let (hp, program) =
        run(tiny("llama", &Options { config: mistral.into(), ..plain.clone() })).unwrap();
    assert_eq!(hp.window, Some(16));
    assert!(program.to_string().contains("window: Some(16)"));
}

#[test]
fn heads_need_not_fill_the_width() {
    let options = Options { n_embd: 64, config: r#""head_dim": 8"#.into(), ..Options::default() };
    let tiny = tiny("llama", &options);
    let config = config_of(&tiny);
    // Heads of 8 where the width would give 16: q, k and v are half as many rows, o half as many columns.
    let tensors = tiny.checkpoint.into_tensors().into_iter().map(|(mut info, mut bytes)| {
        if info.name.contains("self_attn") {
            info.shape =
                if info.name.contains("o_proj") { [64, 32].into() } else { [32, 64].into() };
            bytes.truncate(bytes.len() / 2);
        }
        (info, bytes)
    });
    let (hp, program) = program(&canonical(&config, tensors).unwrap()).unwrap();
    assert_eq!((hp.head_dim, hp.n_rot, hp.n_embd_q()), (8, 8, 32));
    assert!(program.to_string().contains("rope %3 Interleaved n_rot=8 head_dim=8"));
}

#[test]
fn mpt_without_alibi_adds_learned_positions_and_qk_norms() {
    let config = r#""attn_config": { "alibi": false, "qk_ln": true }"#;
    let tiny = tiny("mpt", &Options { config: config.into(), ..Options::default() });
    let config = config_of(&tiny);
    let mut tensors = tiny.checkpoint.into_tensors();
    let mut add = |name: String, shape: &[usize]| {
        let info = TensorInfo::new(name, DType::F32, gristmill_tensor::Shape::new(shape));
        let bytes = vec![0; info.n_bytes() as usize];
        tensors.push((info, bytes));
    };
    add("transformer.wpe.weight".into(), &[64, 32]);
    for il in 0..2 {
        add(format!("transformer.blocks.{il}.attn.q_ln.weight"), &[32]);
        add(format!("transformer.blocks.{il}.attn.k_ln.weight"), &[32]);
    }
    let (hp, program) = program(&canonical(&config, tensors).unwrap()).unwrap();
    assert_eq!((hp.alibi_max, hp.clamp_kqv), (None, None));
    let text = program.to_string();
    assert!(text.contains("= positions") && text.contains("position_embd.weight"));
    assert!(text.contains("blk.1.attn_k_norm.weight"));
}

#[test]
fn the_norms_of_large_falcons_have_their_own_names() {
    let falcon = find("falcon").unwrap();
    let second = TensorInfo::new("blk.0.attn_norm_2.weight", DType::F32, [1]);
    for (tensors, name) in [(vec![], "input_layernorm"), (vec![second], "ln_mlp")] {
        let tensors = TensorIndex::new(tensors).unwrap();
        for dialect in [Dialect::HuggingFace, Dialect::Ggml] {
            let (found, _) = spell(falcon, dialect, "blk.7.attn_norm.bias", &tensors).unwrap();
            assert_eq!(found, format!("transformer.h.7.{name}.bias"));
        }
    }
}

#[test]
fn legacy_files_keep_falcons_and_blooms_projections_in_the_houses_order() {
    for (arch, name) in [
        ("falcon", "transformer.h.0.self_attention.query_key_value.weight"),
        ("bloom", "layers.0.attention.query_key_value.weight"),
    ] {
        let arch = find(arch).unwrap();
        assert_eq!(match_weight(arch, Dialect::Ggml, name).unwrap().transform, Transform::Keep);
    }
    let name = "gpt_neox.layers.0.attention.query_key_value.weight";
    let neox = match_weight(find("gptneox").unwrap(), Dialect::Ggml, name).unwrap();
    assert_eq!(neox.transform, Transform::GroupedQkv);
}

#[test]
fn metas_names_need_no_reordering() {
    let llama = find("llama").unwrap();
    let matched = match_weight(llama, Dialect::Ggml, "layers.3.attention.wq.weight").unwrap();
    assert_eq!(matched.transform, Transform::Keep);
    let hf = match_weight(llama, Dialect::HuggingFace, "layers.3.self_attn.q_proj.weight").unwrap();
    assert_ne!(hf.transform, Transform::Keep);
    assert_eq!(hf.name, matched.name);
}

#[test]
fn an_architecture_that_is_not_here_is_named() {
    let mut checkpoint =
        MemoryCheckpoint::new("x.gguf", gristmill_tensor::Metadata::new("x.gguf"), []);
    assert!(matches!(program(&checkpoint), Err(Error::MissingKey { .. })));
    checkpoint.metadata.set("general.architecture", "rwkv");
    let message = program(&checkpoint).unwrap_err().to_string();
    assert!(message.contains("rwkv") && message.contains("gptj, gptneox, llama, mpt"), "{message}");
}
