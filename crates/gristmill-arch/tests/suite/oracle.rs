//! Every configuration and tensor list of the reference models: understood, or refused for the right reason.

use std::path::{Path, PathBuf};

use crate::common::canonical;
use gristmill_arch::{
    ARCHITECTURES, Config, Dialect, describe, from_config, is_ignored, match_weight, program,
};
use gristmill_tensor::{DType, Metadata, Shape, TensorInfo};
use gristmill_testkit::oracle;
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The tensors of a safetensors file, of the right size but with zeros for bytes.
fn tensors(path: &Path) -> Vec<(TensorInfo, Vec<u8>)> {
    let file = std::fs::read(path).unwrap();
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + len]).unwrap();
    let header = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    header
        .map(|(name, entry)| {
            let dtype = DType::from_name(entry["dtype"].as_str().unwrap()).unwrap();
            let dims = entry["shape"].as_array().unwrap().iter();
            let shape = Shape::new(dims.map(|d| d.as_u64().unwrap() as usize).collect::<Vec<_>>());
            let info = TensorInfo { name: name.clone(), dtype, shape };
            let bytes = vec![0; info.n_bytes() as usize];
            (info, bytes)
        })
        .collect()
}

#[test]
fn every_configuration_is_understood_or_named_as_unknown() {
    let Some(folder) = oracle("every configuration is understood") else { return };
    let mut understood = 0;
    for variant in files(&folder.join("models")).iter().flat_map(|model| files(model)) {
        for name in ["config.json", "params.json"] {
            let path = variant.join(name);
            if !path.exists() {
                continue;
            }
            let (config, file) = (json(&path), path.display().to_string());
            match from_config(&config, &file) {
                Ok(arch) => {
                    let mut metadata = Metadata::new(&*file);
                    arch.configure(&Config::new(&config, &file), &mut metadata).unwrap();
                    understood += 1;
                }
                Err(error) => {
                    let known: Vec<_> =
                        ARCHITECTURES.iter().flat_map(|arch| arch.model_types()).collect();
                    let model_type = config["model_type"].as_str().unwrap();
                    assert!(!known.contains(&&model_type), "{error}");
                    assert!(error.to_string().contains(model_type), "{error}");
                }
            }
        }
    }
    assert!(understood > 0, "no configuration under {}", folder.display());
}

#[test]
fn every_tensor_list_gives_a_program() {
    let Some(folder) = oracle("every tensor list gives a program") else { return };
    let mut programs = 0;
    for variant in files(&folder.join("models")).iter().flat_map(|model| files(model)) {
        let is_weights = |path: &PathBuf| path.extension().is_some_and(|e| e == "safetensors");
        let shards: Vec<_> = files(&variant).into_iter().filter(is_weights).collect();
        let Some(config) = Some(variant.join("config.json")).filter(|path| path.exists()) else {
            continue;
        };
        let config = json(&config);
        if shards.is_empty() || from_config(&config, "config.json").is_err() {
            continue;
        }
        let tensors = shards.iter().flat_map(|path| tensors(path));
        let (hp, program) = program(&canonical(&config, tensors).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", variant.display()));
        assert_eq!(program.n_layer, hp.n_layer);
        programs += 1;
    }
    assert!(programs > 0, "no safetensors under {}", folder.display());
}

#[test]
fn every_name_in_an_index_is_known() {
    let Some(folder) = oracle("every name in an index is known") else { return };
    let mut names = 0;
    for variant in files(&folder.join("models")).iter().flat_map(|model| files(model)) {
        for index in ["pytorch_model.bin.index.json", "model.safetensors.index.json"] {
            let index = variant.join(index);
            if !index.exists() {
                continue;
            }
            let arch = from_config(&json(&variant.join("config.json")), "config.json").unwrap();
            for name in json(&index)["weight_map"].as_object().unwrap().keys() {
                let known = match_weight(arch, Dialect::HuggingFace, name).is_some()
                    || is_ignored(arch, name);
                assert!(known, "{}: {name}", index.display());
                names += 1;
            }
        }
    }
    assert!(names > 0, "no index under {}", folder.display());
}

#[test]
fn every_description_gives_the_numbers_again() {
    let Some(folder) = oracle("every description gives the numbers again") else { return };
    let mut described = 0;
    for variant in files(&folder.join("models")).iter().flat_map(|model| files(model)) {
        let weights = variant.join("model.safetensors");
        if !weights.exists() || !variant.join("config.json").exists() {
            continue;
        }
        let config = json(&variant.join("config.json"));
        let model = canonical(&config, tensors(&weights)).unwrap();
        let description = Value::Object(describe(&model, DType::F32).unwrap());
        let mut metadata = Metadata::new("description");
        let arch = from_config(&description, "description").unwrap();
        arch.configure(&Config::new(&description, "description"), &mut metadata).unwrap();
        for (key, value) in model.metadata.iter() {
            assert_eq!(metadata.get(key), Some(value), "{}: {key}", variant.display());
        }
        described += 1;
    }
    assert!(described > 0, "no safetensors under {}", folder.display());
}
