//! Checkpoints that PyTorch itself wrote, against the same tensors in safetensors files.
//!
//! The files are found below the folder named by `GRISTMILL_ORACLE`; without it these tests say so and do nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill_tensor::{Access, DType, Format, OpenContext, open_source};
use gristmill_torch::{Torch, audit, is_permitted};
use half::{bf16, f16};
use safetensors::SafeTensors;

fn oracle() -> Option<PathBuf> {
    gristmill_testkit::oracle("checkpoints that PyTorch wrote")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn is_torch(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "bin" || suffix == "pth")
}

/// A tensor with its elements as floats and how they were stored.
struct Values {
    dtype: DType,
    dims: Vec<usize>,
    values: Vec<f32>,
}

fn floats(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|&x| f16::from_le_bytes(x).to_f32()).collect(),
        DType::BF16 => {
            bytes.as_chunks().0.iter().map(|&x| bf16::from_le_bytes(x).to_f32()).collect()
        }
        _ => bytes.iter().map(|&x| x.into()).collect(),
    }
}

/// All tensors of the torch files of a folder, read in slabs of a few rows.
fn torch_folder(folder: &Path, access: Access) -> BTreeMap<String, Values> {
    let mut tensors = BTreeMap::new();
    for path in files(folder).iter().filter(|path| is_torch(path)) {
        let source = open_source(path, access).unwrap();
        let head = source.read(0..source.len().min(4096)).unwrap();
        assert!(Torch.detect(path, &head), "{}", path.display());
        assert!(audit(source.clone()).unwrap().iter().all(|global| is_permitted(global)));
        let checkpoint = Torch.open(source, &OpenContext::default()).unwrap();
        for info in checkpoint.tensors() {
            let mut bytes = Vec::new();
            for first in (0..info.shape.rows()).step_by(7) {
                let rows = first..info.shape.rows().min(first + 7);
                bytes.extend_from_slice(&checkpoint.read(&info.name, rows).unwrap());
            }
            assert_eq!(bytes, *checkpoint.tensor(&info.name).unwrap().bytes);
            let dims = info.shape.dims().to_vec();
            let values = Values { dtype: info.dtype, dims, values: floats(info.dtype, &bytes) };
            tensors.insert(info.name.clone(), values);
        }
    }
    tensors
}

fn safetensors_file(path: &Path) -> BTreeMap<String, Values> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: safetensors::tensor::TensorView<'_>| {
        let dtype = DType::from_name(&format!("{:?}", view.dtype())).unwrap();
        Values { dtype, dims: view.shape().to_vec(), values: floats(dtype, view.data()) }
    };
    file.tensors().into_iter().map(|(name, view)| (name, values(view))).collect()
}

fn assert_same(name: &str, torch: &Values, reference: &Values) {
    assert_eq!(torch.dims, reference.dims, "{name}");
    let rounded = reference.values.iter().map(|&value| match torch.dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    });
    // As bits, for some buffers hold infinities.
    assert!(torch.values.iter().map(|x| x.to_bits()).eq(rounded.map(f32::to_bits)), "{name}");
}

#[test]
fn every_torch_file_opens_and_equals_its_safetensors_sibling() {
    let Some(oracle) = oracle() else { return };
    let (mut n_folders, mut n_tensors) = (0, 0);
    for model in files(&oracle.join("models")) {
        let reference =
            ["st-f32", "st-f16"].map(|folder| model.join(folder).join("model.safetensors"));
        let reference =
            reference.iter().find(|path| path.exists()).map(|path| safetensors_file(path));
        for folder in files(&model) {
            let tensors = torch_folder(&folder, Access::Map);
            if tensors.is_empty() {
                continue;
            }
            n_folders += 1;
            let Some(reference) = &reference else { continue };
            if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("meta")) {
                continue;
            }
            for (name, expected) in reference {
                // Some were saved without the prefix of the whole model.
                let short = name.strip_prefix("transformer.").unwrap_or(name);
                let found = tensors.get(name).or_else(|| tensors.get(short));
                let found = found.unwrap_or_else(|| panic!("{}: {name}", folder.display()));
                assert_same(&format!("{}: {name}", folder.display()), found, expected);
                n_tensors += 1;
            }
        }
    }
    assert!(n_folders >= 16 && n_tensors >= 200, "{n_folders} folders, {n_tensors} tensors");
}

#[test]
fn plain_files_give_the_same_as_mappings() {
    let Some(oracle) = oracle() else { return };
    for folder in ["strided", "strided-legacy-f16", "bin-f16"] {
        let folder = oracle.join("models/gptj-a").join(folder);
        let (mapped, plain) =
            (torch_folder(&folder, Access::Map), torch_folder(&folder, Access::Read));
        assert!(!plain.is_empty() && mapped.len() == plain.len());
        for (name, values) in &plain {
            assert_same(name, values, &mapped[name]);
        }
    }
}

#[test]
fn both_containers_hold_the_same_model() {
    let Some(oracle) = oracle() else { return };
    for model in ["llama-mha", "micro-gptj"] {
        let folder =
            |name| torch_folder(&oracle.join("models").join(model).join(name), Access::Map);
        let (zip, stream) = (folder("bin-f16"), folder("legacy-f16"));
        assert!(zip.keys().eq(stream.keys()));
        for (name, values) in &zip {
            assert_same(name, values, &stream[name]);
        }
    }
}

#[test]
fn original_llama_names_hold_the_same_weights() {
    let Some(oracle) = oracle() else { return };
    let model = oracle.join("models/micro-llama");
    let original = torch_folder(&model.join("meta1"), Access::Map);
    let reference = safetensors_file(&model.join("st-f16/model.safetensors"));
    for (name, hub_name) in [
        ("tok_embeddings.weight", "model.embed_tokens.weight"),
        ("norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
        ("layers.0.feed_forward.w2.weight", "model.layers.0.mlp.down_proj.weight"),
    ] {
        assert_same(name, &original[name], &reference[hub_name]);
    }
}

#[test]
fn tied_weights_of_a_checkpoint_are_told() {
    let Some(oracle) = oracle() else { return };
    let path = oracle.join("models/llama-json/bin-f16/pytorch_model.bin");
    let checkpoint =
        Torch.open(open_source(&path, Access::Map).unwrap(), &OpenContext::default()).unwrap();
    assert_eq!(checkpoint.alias_of("lm_head.weight"), Some("model.embed_tokens.weight"));
    assert_eq!(checkpoint.alias_of("model.embed_tokens.weight"), None);
}

/// The oracle's script damages a good file in a hundred ways and says what a reader should make of each.
#[test]
fn damaged_files_are_refused_as_the_script_that_damaged_them_expects() {
    let Some(oracle) = oracle() else { return };
    let folder = tempfile::tempdir().unwrap();
    let model = oracle.join("models/micro-gptj");
    let made = Command::new("python3")
        .arg(oracle.join("scripts/hostile.py"))
        .arg(folder.path())
        .arg("--torchzip")
        .arg(model.join("bin-f16/pytorch_model.bin"))
        .arg("--torchlegacy")
        .arg(model.join("legacy-f16/pytorch_model.bin"))
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: scripts/hostile.py does not run here; it needs python3");
        return;
    }
    let manifest = fs::read_to_string(folder.path().join("MANIFEST.tsv")).unwrap();
    let good = torch_folder(&model.join("bin-f16"), Access::Map);
    let mut n = 0;
    for line in manifest.lines().skip(1) {
        let mut columns = line.split('\t');
        let (file, expected) = (columns.next().unwrap(), columns.nth(1).unwrap());
        let bytes = fs::read(folder.path().join(file)).unwrap();
        let outcome = crate::common::read_all(bytes.clone());
        match expected {
            "reject" => assert!(outcome.is_err(), "{file}"),
            "accept" => {
                outcome.unwrap_or_else(|error| panic!("{file}: {error}"));
                let checkpoint = crate::common::open(bytes).unwrap();
                for (name, values) in &good {
                    let tensor = checkpoint.tensor(name).unwrap();
                    assert_eq!(
                        floats(tensor.info.dtype, &tensor.bytes),
                        values.values,
                        "{file}: {name}"
                    );
                }
            }
            _ => drop(outcome),
        }
        n += 1;
    }
    assert!(n >= 150, "{n}");
}
