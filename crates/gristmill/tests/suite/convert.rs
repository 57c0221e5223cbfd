//! Conversion through the facade: the same bytes from every container, at every number of threads and budget, and
//! those that llama.cpp writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::gguf::Reader;
use gristmill::tensor::{Checkpoint, DType, Tensor};
use gristmill_testkit::{Options, oracle, tiny};

fn to(outtype: OutType) -> ConvertOptions {
    ConvertOptions { outtype, ..ConvertOptions::default() }
}

/// Every checkpoint of the oracle that can be read, by model.
fn checkpoints(oracle: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut checkpoints = BTreeMap::<String, Vec<PathBuf>>::new();
    for model in fs::read_dir(oracle.join("models")).unwrap() {
        let model = model.unwrap();
        for container in fs::read_dir(model.path()).unwrap() {
            let path = container.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            let Ok(config) = fs::read(path.join("config.json")) else { continue };
            let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
            let known = gristmill::arch::from_config(&config, "config.json").is_ok();
            if known && !name.starts_with("meta") && name != "tokenizer-only" {
                let model = model.file_name().into_string().unwrap();
                checkpoints.entry(model).or_default().push(path);
            }
        }
    }
    checkpoints
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.info.shape.numel()];
    (gristmill::quant::codec(tensor.info.dtype).unwrap().dequantize)(&tensor.bytes, &mut values);
    values
}

#[test]
fn every_container_converts_to_every_type_whatever_the_threads_and_the_budget() {
    let Some(oracle) = oracle("conversion") else { return };
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&oracle);
    assert!(checkpoints.len() >= 7, "{checkpoints:?}");
    let others = [(2, 32 << 20), (8, 32 << 20), (8, 1 << 30), (2, 40_000)];
    for (n_path, path) in checkpoints.values().flatten().enumerate() {
        for (n_type, &outtype) in OutType::ALL.iter().enumerate() {
            let convert = |threads, memory| {
                let output = folder.path().join(format!("{threads}-{memory}.gguf"));
                let options = ConvertOptions { threads, memory, force: true, ..to(outtype) };
                gristmill::convert(path, &output, &options)
                    .unwrap_or_else(|error| panic!("{} to {outtype}: {error}", path.display()));
                fs::read(output).unwrap()
            };
            let expected = convert(1, 1 << 30);
            // In turn, so that every container and every type meets them all.
            let (threads, memory) = others[(n_path + n_type) % others.len()];
            let same = convert(threads, memory) == expected;
            assert!(same, "{} to {outtype}, {threads} threads, {memory} bytes", path.display());
        }
    }
}

#[test]
fn the_container_does_not_show_in_the_file() {
    let Some(oracle) = oracle("containers") else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let mut compared = 0;
    for (model, paths) in checkpoints(&oracle) {
        let mut files = BTreeMap::<String, Vec<u8>>::new();
        for path in paths {
            // The name of the folder becomes the name of the model.
            let copy = folder.path().join(&model);
            fs::create_dir(&copy).unwrap();
            for file in fs::read_dir(&path).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), copy.join(file.file_name())).unwrap();
            }
            let options = ConvertOptions { force: true, ..to(OutType::Q8_0) };
            gristmill::convert(&copy, &output, &options).unwrap();
            fs::remove_dir_all(&copy).unwrap();
            let container = path.file_name().unwrap().to_string_lossy().into_owned();
            let ending = container.rsplit('-').next();
            let weights = ending.filter(|ending| ["f16", "bf16"].contains(ending)).unwrap_or("f32");
            let bytes = fs::read(&output).unwrap();
            match files.get(weights) {
                Some(expected) => {
                    compared += 1;
                    assert!(bytes == *expected, "{model}: {container}");
                }
                None => drop(files.insert(weights.into(), bytes)),
            }
        }
    }
    assert!(compared >= 6, "{compared}");
}

/// Files by llama.cpp that were made of the very weights that the oracle has: ours, theirs, the type.
const SAME_SOURCE: [(&str, &str, OutType); 3] = [
    ("llama-json/st-f32", "llama-json/llama-json.Q8_0.gguf", OutType::Q8_0),
    ("llama-json/st-f32", "llama-json/llama-json.bf16.gguf", OutType::BF16),
    ("micro-llama/st-f16", "micro-llama/micro-llama.f16.gguf", OutType::F16),
];

#[test]
fn tensors_are_byte_for_byte_those_of_llama_cpp() {
    let Some(oracle) = oracle("llama.cpp's files") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (ours, theirs, outtype) in SAME_SOURCE {
        let report =
            gristmill::convert(oracle.join("models").join(ours), folder.path(), &to(outtype));
        let found = Reader::open(&report.unwrap().output).unwrap();
        let expected = Reader::open(&oracle.join("gguf").join(theirs)).unwrap();
        assert_eq!(found.tensors().len(), expected.tensors().len());
        for info in expected.tensors() {
            let (found, expected) =
                (found.tensor(&info.name).unwrap(), expected.tensor(&info.name).unwrap());
            assert_eq!(found.info, *info);
            // llama.cpp's F16 file was made of F32 weights: its norms are not rounded.
            if outtype != OutType::F16 || info.dtype != DType::F32 {
                assert!(*found.bytes == *expected.bytes, "{theirs}: {}", info.name);
            }
        }
        for (key, value) in expected.metadata().iter().filter(|(key, _)| *key != "general.name") {
            // Written by llama.cpp although they are what their absence means.
            if !key.ends_with("attention.key_length") && !key.ends_with("attention.value_length") {
                assert_eq!(found.metadata().get(key), Some(value), "{theirs}: {key}");
            }
        }
    }
}

#[test]
fn types_are_those_of_llama_cpp() {
    let Some(oracle) = oracle("llama.cpp's types") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (ours, theirs, outtype) in [
        ("llama-sp/st-f16", "llama-sp/llama-sp.Q4_0.gguf", OutType::Q4_0),
        ("mpt-a/bin-sharded-f16", "mpt-a/mpt-a.Q4_0.gguf", OutType::Q4_0),
        ("mpt-a/bin-sharded-f16", "mpt-a/mpt-a.q8_0.gguf", OutType::Q8_0),
        ("micro-llama/st-f16", "micro-llama/micro-llama.Q4_0.gguf", OutType::Q4_0),
        ("llama-sp/st-f16", "llama-sp/llama-sp.Q6_K.gguf", OutType::Q6_K),
        ("llama-sp/st-f16", "llama-sp/llama-sp.Q4_K_M.gguf", OutType::Q4_K_M),
        ("llama-sp/st-f16", "llama-sp/llama-sp.Q2_K.gguf", OutType::Q2_K),
    ] {
        let report =
            gristmill::convert(oracle.join("models").join(ours), folder.path(), &to(outtype));
        let found = Reader::open(&report.unwrap().output).unwrap();
        let expected = Reader::open(&oracle.join("gguf").join(theirs)).unwrap();
        for info in expected.tensors() {
            let (found, expected) =
                (found.tensor(&info.name).unwrap(), expected.tensor(&info.name).unwrap());
            assert_eq!(found.info.dtype, info.dtype, "{theirs}: {}", info.name);
            // Theirs were made of F32 weights: close, not equal.
            let (found, expected) = (values(&found), values(&expected));
            let norm =
                |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
            let error = norm(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
            // A weight that is rounded the other way moves by a whole step.
            let allowed = if outtype == OutType::Q2_K { 0.06 } else { 0.03 };
            assert!(
                error <= allowed * norm(&mut expected.iter().copied()),
                "{theirs}: {}",
                info.name
            );
        }
    }
}

#[test]
fn a_file_can_be_quantized_from_gguf_as_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    for arch in ["bloom", "falcon", "gpt2", "gptj", "gptneox", "llama", "mpt"] {
        let source = folder.path().join(arch);
        fs::create_dir(&source).unwrap();
        tiny(arch, &Options { dtype: DType::F16, ..Options::default() }).save(&source).unwrap();
        let f16 = gristmill::convert(&source, folder.path(), &to(OutType::F16)).unwrap().output;
        for outtype in [OutType::Q8_0, OutType::Q5_0, OutType::Q4_1, OutType::Q3_K_M] {
            let direct = folder.path().join("direct.gguf");
            let options = ConvertOptions { force: true, ..to(outtype) };
            gristmill::convert(&source, &direct, &options).unwrap();
            let twice = folder.path().join("twice.gguf");
            gristmill::quantize(&f16, &twice, outtype, &options).unwrap();
            assert!(fs::read(direct).unwrap() == fs::read(twice).unwrap(), "{arch} {outtype}");
        }
    }
}

#[test]
fn an_embedding_with_more_rows_than_tokens_is_given_unused_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny("mpt", &Options::default());
    let n_rows = model.checkpoint.tensors()[0].shape.rows();
    model.save(folder.path()).unwrap();
    // One token less than the embedding has rows.
    let path = folder.path().join("tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let merges = json["model"]["merges"].as_array_mut().unwrap();
    assert!(merges.pop().is_some());
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let last = vocab.iter().max_by_key(|(_, id)| id.as_u64()).unwrap().0.clone();
    vocab.remove(&last);
    if let Some(added) = json["added_tokens"].as_array_mut() {
        added.retain(|token| token["content"] != last.as_str());
    }
    fs::write(&path, json.to_string()).unwrap();

    let report = gristmill::convert(folder.path(), folder.path(), &to(OutType::F32)).unwrap();
    let found = Reader::open(&report.output).unwrap();
    let tokens = found.metadata().get_strings("tokenizer.ggml.tokens").unwrap().unwrap();
    assert_eq!(tokens.len(), n_rows);
    assert!(tokens.last().unwrap().contains("PAD"), "{:?}", tokens.last());
    let (model, tokenizer) = gristmill::load(&report.output).unwrap();
    assert_eq!(model.n_vocab(), n_rows);
    assert!(!tokenizer.encode("Hello", Default::default()).unwrap().is_empty());
}
