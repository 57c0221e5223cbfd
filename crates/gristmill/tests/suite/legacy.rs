//! Files of 2023, by the tools of 2023: identified, read, run as their tools ran them, carried forward.
//!
//! The files lie under `legacy/<model>/` of the folder named by `GRISTMILL_ORACLE`; `peer/` has what the programs of
//! the day made of them: logits of the first prompt (`<file>|<program>`) and greedy continuations (`results.jsonl`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::runtime::{CacheType, Chain, Model, SamplerOptions, Session, SessionOptions};
use gristmill::tensor::Checkpoint;
use gristmill::{OpenOptions, Opened};
use gristmill_testkit::oracle;
use serde_json::Value;

/// The files, each with its model's name.
fn files(oracle: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    for model in fs::read_dir(oracle.join("legacy")).unwrap() {
        let model = model.unwrap();
        for file in fs::read_dir(model.path()).unwrap() {
            files.push((model.file_name().into_string().unwrap(), file.unwrap().path()));
        }
    }
    files.sort();
    assert!(files.len() > 60);
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn session(model: Arc<Model>) -> Session {
    let options =
        SessionOptions { n_ctx: 128, n_threads: 1, cache: CacheType::F32, ..Default::default() };
    Session::new(model, options).unwrap()
}

fn logits(opened: &Opened, tokens: &[u32]) -> Vec<f32> {
    let mut all = Vec::new();
    let mut session = session(opened.model().unwrap());
    session.feed_all(tokens, &mut |_, logits| all.extend_from_slice(logits)).unwrap();
    all
}

fn greedy(opened: &Opened, tokens: &[u32], n: usize) -> Vec<u32> {
    let mut session = session(opened.model().unwrap());
    let mut greedy = Chain::new(SamplerOptions { temp: 0.0, ..SamplerOptions::default() });
    session.generate(&mut greedy, tokens).take(n).map(Result::unwrap).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The ids of the first prompt, which all programs were given.
fn prompt(oracle: &Path, model: &str) -> Vec<u32> {
    let json = fs::read(oracle.join("oracle").join(model).with_extension("json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    ids(&json["prompts"][0]["ids"])
}

/// The architecture that a file's model is of, by the model's name.
fn architecture(model: &str) -> &'static str {
    let family = model.trim_start_matches("micro-").split('-').next().unwrap();
    match family {
        "bloom" => "bloom",
        "gpt2" => "gpt2",
        "gptj" => "gptj",
        "llama" => "llama",
        "mpt" => "mpt",
        "neox" => "gptneox",
        other => panic!("{other}"),
    }
}

#[test]
fn every_file_is_what_its_name_says() {
    let Some(oracle) = oracle("legacy files are identified") else { return };
    for (model, path) in files(&oracle) {
        let raw = gristmill::open_raw(&path, &OpenOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
        let found = raw.metadata().get_str("general.architecture").unwrap();
        assert_eq!(found, Some(architecture(&model)), "{}", path.display());
        let file = name(&path);
        let container = match () {
            _ if file.contains("ggjt") => "GGJT",
            _ if file.contains("ggmf") => "GGMF",
            _ if file.contains("g4a-mpt") => "GGMM",
            _ => "GGML",
        };
        assert!(raw.format().starts_with(container), "{file}: {}", raw.format());
        // The name tells the version of the block layouts of quantized files.
        let version = match () {
            _ if file.contains("-f16") => continue,
            _ if ["q2-q", "v3", "llmrs"].iter().any(|mark| file.contains(mark)) => 2,
            _ if ["q1-", "-v2-"].iter().any(|mark| file.contains(mark)) => 1,
            _ => 0,
        };
        let found = raw.metadata().get_u32("general.quantization_version").unwrap();
        assert_eq!(found, Some(version), "{file}");
    }
}

#[test]
fn what_is_lossless_holds_the_same_numbers_and_the_rest_is_told() {
    let Some(oracle) = oracle("legacy files become GGUF") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (model, path) in files(&oracle) {
        let opened = gristmill::open(&path).unwrap();
        let output = folder.path().join("out.gguf");
        let options =
            ConvertOptions { outtype: OutType::COPY, force: true, ..ConvertOptions::default() };
        let report = opened
            .convert(&output, &options, &mut |_| std::ops::ControlFlow::Continue(()))
            .unwrap();
        let converted = gristmill::open(&output).unwrap();
        let file = name(&path);
        let [here, there] = [&opened, &converted].map(|opened| opened.tokenizer().unwrap());
        assert!(there.n_vocab() >= here.n_vocab(), "{file}");
        there.check_matches(&here).unwrap_or_else(|error| panic!("{file}: {error}"));
        check_same_text(&oracle, &model, &file, &opened, &converted);
        assert_eq!(report.lossless + report.changes.len(), report.tensors, "{file}");
        for info in opened.checkpoint().tensors() {
            let (old, new) = (
                values(&**opened.checkpoint(), &info.name),
                values(&**converted.checkpoint(), &info.name),
            );
            let change = report.changes.iter().find(|change| change.source.name == info.name);
            match change {
                None => assert!(old == new, "{file}: {}", info.name),
                Some(change) => {
                    assert!(old != new, "{file}: {}", info.name);
                    let error = old
                        .iter()
                        .zip(&new)
                        .map(|(a, b)| f64::from(a - b).abs())
                        .fold(0.0, f64::max);
                    assert!((error - change.error.max()).abs() <= 1e-9, "{file}: {}", info.name);
                    // A scale is off by a 2048th part; a block of Q8_0 by half of a 127th.
                    let share = change.error.rmse() / change.error.rms();
                    let bound = if info.dtype.successor().is_some() { 6e-4 } else { 8e-3 };
                    assert!(share < bound, "{file}: {} {share}", info.name);
                }
            }
        }
    }
}

/// A legacy file and the GGUF file made of it go on alike from the first prompt, but for near ties: the products of
/// today's blocks round activations to 8 bits, those of the old ones do not.
fn check_same_text(oracle: &Path, model: &str, file: &str, old: &Opened, new: &Opened) {
    let prompt = prompt(oracle, model);
    let [ours, theirs] = [old, new].map(|opened| greedy(opened, &prompt, 16));
    let agreed = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    if agreed < ours.len() {
        let found = logits(old, &[&prompt, &ours[..agreed]].concat());
        let last = &found[found.len() - old.model().unwrap().n_vocab()..];
        let margin = last[ours[agreed] as usize] - last[theirs[agreed] as usize];
        assert!(margin <= 0.25, "{file} as GGUF: token {agreed}, margin {margin}");
    }
}

/// Whatever a tensor holds, as floats.
fn values(checkpoint: &dyn Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.info.shape.numel()];
    let codec = gristmill::quant::codec(tensor.info.dtype).unwrap();
    (codec.dequantize)(&tensor.bytes, &mut values);
    values
}

/// How far a program's logits may be from ours on average. Ours are those of the file's very numbers; theirs come of
/// activations rounded to 8 bits, and in March 2023 to 4 bits.
fn tolerance(file: &str, peer: &str) -> f32 {
    match peer {
        "llama.cpp-ggmf" if file.contains("q4_") => 0.3,
        _ if file.contains("f16") => 2e-3,
        _ => 3e-2,
    }
}

#[test]
fn every_file_runs_as_in_the_program_it_was_made_for() {
    let Some(oracle) = oracle("legacy files run") else { return };
    let results = fs::read_to_string(oracle.join("peer/results.jsonl")).unwrap();
    let mut greedy_of: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
    for line in results.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["rc"] == 0 && line["greedy"].is_array() {
            let key = |name: &str| line[name].as_str().unwrap().to_owned();
            greedy_of.insert((key("file"), key("peer")), ids(&line["greedy"]));
        }
    }
    let (mut n_logits, mut n_greedy) = (0, 0);
    for (model, path) in files(&oracle) {
        let file = name(&path);
        let opened = gristmill::open(&path).unwrap();
        let prompt = prompt(&oracle, &model);
        let found = logits(&opened, &prompt);
        let peers = oracle.join("peer").join(&model).with_extension("safetensors");
        let peers = gristmill::safetensors::Reader::open(&peers).unwrap();
        for info in peers.tensors() {
            let Some((_, peer)) = info.name.split_once('|').filter(|(f, _)| *f == file) else {
                continue;
            };
            // ctransformers reads the Q5 blocks of version 0 as today's, which is wrong.
            if peer == "ctransformers" && file.contains("q0-q5") {
                continue;
            }
            let expected = values(&peers, &info.name);
            let found = &found[found.len() - expected.len()..];
            let sum: f32 = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum();
            let error = sum / expected.len() as f32;
            assert!(error <= tolerance(&file, peer), "{file}, {peer}: off by {error} on average");
            n_logits += 1;
            let Some(theirs) = greedy_of.get(&(format!("{model}/{file}"), peer.into())) else {
                continue;
            };
            let ours = greedy(&opened, &prompt, theirs.len());
            let agreed = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
            if agreed < theirs.len() {
                // What follows a near tie is another text; how near depends on the program's precision.
                let fed = [&prompt, &ours[..agreed]].concat();
                let found = logits(&opened, &fed);
                let last = &found[found.len() - opened.model().unwrap().n_vocab()..];
                let margin = last[ours[agreed] as usize] - last[theirs[agreed] as usize];
                let near = 8.0 * tolerance(&file, peer);
                assert!(margin <= near, "{file}, {peer}: token {agreed}, margin {margin}");
            }
            n_greedy += 1;
        }
    }
    assert!(n_logits > 90 && n_greedy > 90, "{n_logits} logits and {n_greedy} texts were compared");
}

/// The tools of their day quantized these files from F16 files that are here too; from the same numbers come the same
/// bytes.
#[test]
fn blocks_are_made_as_the_tools_of_their_day_made_them() {
    let Some(oracle) = oracle("legacy blocks are made again") else { return };
    let mut n_tensors = 0;
    for (model, path) in files(&oracle) {
        let file = name(&path);
        let by_ggml = ["ggml-q0-", "ggml-q1-", "ggml-q2-", "ggml-q43-"];
        // In April 2023 the scales of Q4_0 and Q4_2 followed another rule.
        let by_older_rule = file.contains("q43-q4_0") || file.contains("q43-q4_2");
        if by_older_rule || !by_ggml.iter().any(|mark| file.contains(mark)) {
            continue;
        }
        let originals = ["ggml", "llmrs"].map(|tool| format!("{model}.{tool}-f16.bin"));
        let mut originals = originals.into_iter().map(|name| path.with_file_name(name));
        let original = originals.find(|path| path.exists()).unwrap();
        let [quantized, original] = [&path, &original]
            .map(|path| gristmill::open_raw(path, &OpenOptions::default()).unwrap());
        for info in quantized.tensors().iter().filter(|info| info.dtype.is_quantized()) {
            let codec = gristmill::quant::codec(info.dtype).unwrap();
            let mut blocks = vec![0; info.n_bytes() as usize];
            codec.quantize.unwrap()(&values(&*original, &info.name), &mut blocks);
            let theirs = quantized.tensor(&info.name).unwrap().bytes;
            assert!(*theirs == blocks, "{file}: {}", info.name);
            n_tensors += 1;
        }
    }
    assert!(n_tensors > 300, "{n_tensors}");
}
