//! Checkpoints in the house's words: names, order of rows, what is left out and what is refused.

use std::sync::Arc;

use gristmill_arch::{ARCHITECTURES, Dialect, match_weight, spell};
use gristmill_convert::{Canonical, Description, Error, Note, Respelled, Result};
use gristmill_tensor::{Checkpoint, DType, Metadata, TensorInfo, keys};
use gristmill_testkit::{MemoryCheckpoint, Options, Tiny, tiny};
use serde_json::Value;

type Tensors = Vec<(TensorInfo, Vec<u8>)>;

/// The canonical form of a tiny model after its tensors and configuration were changed.
fn canonical_of(model: Tiny, change: impl FnOnce(&mut Tensors, &mut Value)) -> Result<Canonical> {
    let mut config = serde_json::from_str(&model.config).unwrap();
    let mut tensors = model.checkpoint.into_tensors();
    change(&mut tensors, &mut config);
    let raw = MemoryCheckpoint::new("tiny", Metadata::new("tiny"), tensors);
    let about =
        Description { name: "tiny", config: &config, config_file: "config.json", tokenizer: None };
    Canonical::new(Arc::new(raw), &about)
}

/// The bytes of every tensor.
fn contents(checkpoint: &dyn Checkpoint) -> Vec<(TensorInfo, Vec<u8>)> {
    let tensors = checkpoint.tensors().iter();
    tensors
        .map(|info| (info.clone(), checkpoint.tensor(&info.name).unwrap().bytes.to_vec()))
        .collect()
}

#[test]
fn what_is_respelled_is_what_was_published_and_leads_back() {
    let grouped = Options { n_head_kv: 2, ..Options::default() };
    let every = ARCHITECTURES.iter().map(|arch| (arch.name(), Options::default()));
    let with_groups = ["falcon", "llama", "mpt"].map(|arch| (arch, grouped.clone()));
    for (arch, options) in every.chain(with_groups) {
        let house = canonical_of(tiny(arch, &options), unchanged).unwrap();
        let house: Arc<dyn Checkpoint> = Arc::new(house);
        let found = Respelled::new(Arc::clone(&house), Dialect::HuggingFace, "a folder").unwrap();
        let sorted = |mut tensors: Tensors| {
            tensors.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
            tensors
        };
        let published = tiny(arch, &options).checkpoint.into_tensors();
        assert!(sorted(contents(&found)) == sorted(published), "{arch}");

        let legacy = Respelled::new(Arc::clone(&house), Dialect::Ggml, "a legacy file").unwrap();
        let back = Canonical::described_by_itself(Arc::new(legacy), arch, None).unwrap();
        assert!(contents(&back) == contents(&*house), "{arch}");
    }
}

#[test]
fn the_first_legacy_files_are_turned_round() {
    let house = canonical_of(tiny("gpt2", &Options::default()), unchanged).unwrap();
    // Hugging Face's matrices under the names of legacy files, but for one that converters always turned.
    let raw = tiny("gpt2", &Options::default()).checkpoint.into_tensors();
    let gpt2 = gristmill_arch::find("gpt2").unwrap();
    let legacy = raw.into_iter().map(|(info, bytes)| {
        let matched = match_weight(gpt2, Dialect::HuggingFace, &info.name).unwrap();
        let (name, _) = spell(gpt2, Dialect::Ggml, &matched.name, house.index()).unwrap();
        if name.ends_with("mlp/c_proj/w") {
            let turned = house.tensor(&matched.name).unwrap();
            return (TensorInfo { name, ..turned.info.clone() }, turned.bytes.to_vec());
        }
        (TensorInfo { name, ..info }, bytes)
    });
    let raw =
        MemoryCheckpoint::new("old.bin", house.metadata().clone(), legacy.collect::<Tensors>());
    let found = Canonical::described_by_itself(Arc::new(raw), "old", None).unwrap();
    assert_eq!(contents(&found), contents(&house));
}

fn unchanged(_: &mut Tensors, _: &mut Value) {}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect()
}

#[test]
fn every_architecture_is_presented_in_the_order_in_which_it_is_computed() {
    for arch in ["bloom", "falcon", "gpt2", "gptj", "gptneox", "llama", "mpt"] {
        let model = tiny(arch, &Options::default());
        let canonical = canonical_of(model, |tensors, _| tensors.reverse()).unwrap();
        assert_eq!(canonical.metadata().get_str(keys::ARCHITECTURE).unwrap(), Some(arch));
        let names: Vec<&str> = canonical.tensors().iter().map(|info| &*info.name).collect();
        assert_eq!(names[0], "token_embd.weight");
        assert!(names.iter().position(|name| name.starts_with("blk.1.")) > Some(5), "{names:?}");
        let last_block = names.iter().rposition(|name| name.starts_with("blk."));
        assert!(names.iter().position(|name| name.starts_with("output")) > last_block, "{names:?}");
    }
}

#[test]
fn queries_and_keys_are_interleaved_and_any_slab_is_a_part_of_the_whole() {
    let options = Options { n_head: 4, n_head_kv: 2, biases: true, ..Options::default() };
    let stored = tiny("llama", &options).checkpoint;
    let canonical = canonical_of(tiny("llama", &options), unchanged).unwrap();
    for (part, spelled, n_head) in
        [("attn_q", "q_proj", 4), ("attn_k", "k_proj", 2), ("attn_v", "v_proj", 0)]
    {
        let house = format!("blk.1.{part}.weight");
        let spelled = format!("model.layers.1.self_attn.{spelled}.weight");
        let whole = canonical.tensor(&house).unwrap();
        let (n_rows, row_bytes) = (whole.info.shape.rows(), whole.info.row_bytes());
        for row in 0..n_rows {
            let stored_row = match n_head {
                0 => row,
                _ => {
                    let d = n_rows / n_head;
                    row / d * d + row % 2 * (d / 2) + row % d / 2
                }
            };
            let expected = stored.read(&spelled, stored_row..stored_row + 1).unwrap();
            assert_eq!(
                whole.bytes[row * row_bytes..(row + 1) * row_bytes],
                *expected,
                "{house} {row}"
            );
        }
        for start in 0..n_rows {
            for end in [start, start + 1, start + 3, n_rows].map(|end| end.min(n_rows)) {
                let slab = canonical.read(&house, start..end).unwrap();
                assert_eq!(*slab, whole.bytes[start * row_bytes..end * row_bytes]);
            }
        }
    }
    // The elements of a bias move like the rows of its matrix.
    let bias = f32s(&canonical.tensor("blk.0.attn_k.bias").unwrap().bytes);
    let stored = f32s(&stored.tensor("model.layers.0.self_attn.k_proj.bias").unwrap().bytes);
    assert_eq!(bias[..8], [0, 4, 1, 5, 2, 6, 3, 7].map(|index| stored[index]));
}

#[test]
fn doubles_are_widened_to_what_can_be_run() {
    let widen = |tensors: &mut Tensors| {
        for (info, bytes) in tensors {
            let doubles = f32s(bytes).into_iter().flat_map(|value| f64::from(value).to_le_bytes());
            *bytes = doubles.collect();
            info.dtype = DType::F64;
        }
    };
    let expected = canonical_of(tiny("llama", &Options::default()), unchanged).unwrap();
    let canonical =
        canonical_of(tiny("llama", &Options::default()), |tensors, _| widen(tensors)).unwrap();
    for info in expected.tensors() {
        let tensor = canonical.tensor(&info.name).unwrap();
        assert_eq!(tensor.info, *info);
        assert_eq!(*tensor.bytes, *expected.tensor(&info.name).unwrap().bytes);
    }
}

#[test]
fn a_head_that_is_the_embedding_again_is_left_out() {
    let double = |tensors: &mut Tensors, _: &mut Value| {
        let (info, bytes) = &tensors[0];
        let head = TensorInfo { name: "lm_head.weight".into(), ..info.clone() };
        tensors.push((head, bytes.clone()));
    };
    let tied = Options { tied: true, ..Options::default() };
    for (arch, options) in [("llama", &tied), ("mpt", &Options::default())] {
        let canonical = canonical_of(tiny(arch, options), double).unwrap();
        assert!(canonical.find("output.weight").is_none(), "{arch}");
        let note = Note::TiedOutput { tensor: "lm_head.weight".into() };
        assert!(canonical.notes().contains(&note), "{arch}");
    }
    // Also when the configuration does not say so, since the bits do.
    let canonical = canonical_of(tiny("llama", &tied), |tensors, config| {
        double(tensors, config);
        config["tie_word_embeddings"] = false.into();
    });
    assert!(canonical.unwrap().find("output.weight").is_none());
    // But not when one bit differs and nobody says that they are tied.
    let canonical = canonical_of(tiny("llama", &tied), |tensors, config| {
        double(tensors, config);
        *tensors.last_mut().unwrap().1.last_mut().unwrap() ^= 1;
        config["tie_word_embeddings"] = false.into();
    });
    assert!(canonical.unwrap().find("output.weight").is_some());
}

#[test]
fn a_tied_gptj_is_given_its_embedding_as_output() {
    let canonical = canonical_of(tiny("gptj", &Options::default()), |tensors, config| {
        tensors.retain(|(info, _)| info.name != "lm_head.weight");
        config["tie_word_embeddings"] = true.into();
    })
    .unwrap();
    let output = canonical.tensor("output.weight").unwrap();
    assert_eq!(*output.bytes, *canonical.tensor("token_embd.weight").unwrap().bytes);
}

#[test]
fn masks_are_left_out_and_unknown_tensors_refused() {
    let add = |name: &'static str| {
        move |tensors: &mut Tensors, _: &mut Value| {
            tensors.push((TensorInfo::new(name, DType::U8, [1]), vec![0]));
        }
    };
    let gptj = || tiny("gptj", &Options::default());
    let canonical = canonical_of(gptj(), add("transformer.h.0.attn.bias")).unwrap();
    assert!(matches!(canonical.notes(), [Note::Ignored { count: 1, .. }]));

    let error = canonical_of(gptj(), add("transformer.h.0.attn.qk_norm.weight")).err().unwrap();
    assert!(error.to_string().contains("transformer.h.0.attn.qk_norm.weight"), "{error}");
    let error = canonical_of(gptj(), add("transformer.h.0.attn.q_proj.qweight")).err().unwrap();
    assert!(error.to_string().contains("GPTQ"), "{error}");
}

#[test]
fn contradictions_are_refused_with_the_tensors_name() {
    let gptj = || tiny("gptj", &Options::default());
    let error = canonical_of(gptj(), |tensors, _| {
        let again = TensorInfo { name: "wte.weight".into(), ..tensors[0].0.clone() };
        tensors.push((again, tensors[0].1.clone()));
    });
    assert!(matches!(error, Err(Error::Ambiguous { ref name, .. }) if name == "token_embd.weight"));

    let error = canonical_of(gptj(), |tensors, _| {
        tensors.retain(|(info, _)| info.name != "transformer.h.1.mlp.fc_in.weight");
    });
    assert!(error.err().unwrap().to_string().contains("blk.1.ffn_up.weight"));

    let error = canonical_of(gptj(), |tensors, _| {
        let (info, bytes) = &mut tensors[0];
        info.dtype = DType::I32;
        assert_eq!(info.n_bytes(), bytes.len() as u64);
    });
    assert!(
        matches!(error, Err(Error::NotAWeight { ref tensor, .. }) if tensor == "transformer.wte.weight")
    );
}
