//! The proof of the whole: for every reference model in every container, token ids, logits, greedy text and
//! perplexity are those that Transformers computed from the same weights; directly from the checkpoint, and from the
//! GGUF file made of it.
//!
//! The references lie under the folder named by `GRISTMILL_ORACLE`: `models/<model>/<container>/` are checkpoints,
//! `oracle/<model>.json` and `.safetensors` what Transformers gave, in single precision.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::runtime::{CacheType, Chain, Model, SamplerOptions, Session, SessionOptions};
use gristmill::tensor::Checkpoint;
use gristmill::tokenizer::{EncodeOptions, Tokenizer};
use gristmill_testkit::compare::max_abs;
use gristmill_testkit::oracle;
use serde_json::Value;

/// The largest difference between two logits.
const MAX_LOGIT_ERROR: f32 = 1e-3;

/// The same where tokens may be multiplied in faster ways.
const MAX_FAST_LOGIT_ERROR: f32 = 5e-3;

/// The same where BF16 weights may be multiplied as such, with activations of eight bits: what llama.cpp, which does the
/// same, differs by.
const MAX_BF16_LOGIT_ERROR: f32 = 2e-2;

/// The largest relative difference between two perplexities.
const MAX_PERPLEXITY_ERROR: f64 = 1e-3;

/// How the weights of a container are rounded, which its name tells.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weights {
    F32,
    F16,
    BF16,
}

impl Weights {
    fn of(container: &str) -> Weights {
        match container.rsplit('-').next() {
            Some("f16") => Weights::F16,
            Some("bf16") => Weights::BF16,
            _ => Weights::F32,
        }
    }

    /// The file that keeps them exactly.
    fn outtype(self) -> OutType {
        match self {
            Weights::F32 => OutType::F32,
            Weights::F16 => OutType::F16,
            Weights::BF16 => OutType::BF16,
        }
    }

    /// The name of the reference logits of a prompt, if they were computed for these weights.
    fn logits(self, prompt: usize) -> Option<String> {
        match (self, prompt) {
            (Weights::F32, _) => Some(format!("logits_{prompt}")),
            (Weights::F16, 0) => Some("logits_0_f16w".into()),
            (Weights::BF16, 0) => Some("logits_0_bf16w".into()),
            _ => None,
        }
    }

    /// The reference perplexity's key.
    fn perplexity(self) -> &'static str {
        match self {
            Weights::F32 => "f32",
            Weights::F16 => "f16_weights",
            Weights::BF16 => "bf16_weights",
        }
    }

    /// Two likeliest tokens closer than this may change places. Greedy text was recorded for the unrounded weights.
    fn near_tie(self) -> f64 {
        match self {
            Weights::F32 => 2e-3,
            Weights::F16 => 1e-2,
            Weights::BF16 => 8e-2,
        }
    }
}

/// What Transformers gave for one model.
struct Reference {
    json: Value,
    logits: gristmill::safetensors::Reader,
}

impl Reference {
    fn read(oracle: &Path, model: &str) -> Reference {
        let base = oracle.join("oracle").join(model);
        let json = fs::read(base.with_extension("json")).unwrap();
        let logits = gristmill::safetensors::Reader::open(&base.with_extension("safetensors"));
        Reference { json: serde_json::from_slice(&json).unwrap(), logits: logits.unwrap() }
    }

    fn logits(&self, name: &str) -> Vec<f32> {
        floats(&self.logits.tensor(name).unwrap().bytes)
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// A model as one of its containers gives it.
struct Subject<'a> {
    what: String,
    weights: Weights,
    model: Arc<Model>,
    tokenizer: Arc<Tokenizer>,
    reference: &'a Reference,
}

impl Subject<'_> {
    fn load<'a>(
        path: &Path,
        what: String,
        weights: Weights,
        reference: &'a Reference,
    ) -> Subject<'a> {
        let (model, tokenizer) =
            gristmill::load(path).unwrap_or_else(|error| panic!("{what}: {error}"));
        Subject { what, weights, model, tokenizer, reference }
    }

    fn session(&self) -> Session {
        self.session_with(true)
    }

    fn session_with(&self, deterministic: bool) -> Session {
        // Single precision throughout, as the reference.
        let options = SessionOptions {
            n_ctx: 256,
            n_threads: 1,
            cache: CacheType::F32,
            deterministic,
            ..Default::default()
        };
        Session::new(Arc::clone(&self.model), options).unwrap()
    }

    fn check(&self) {
        for (number, prompt) in
            self.reference.json["prompts"].as_array().unwrap().iter().enumerate()
        {
            self.check_ids(prompt);
            self.check_logits(number, prompt);
            self.check_greedy(prompt);
        }
        self.check_perplexity();
    }

    fn check_ids(&self, prompt: &Value) {
        let text = prompt["text"].as_str().unwrap();
        let add_special =
            self.reference.json["tokenizer"].as_str().unwrap().contains("BOS prepended");
        let options = EncodeOptions { add_special, parse_special: false };
        let mut found = self.tokenizer.encode(text, options).unwrap();
        let expected = ids(&prompt["ids"]);
        if prompt["truncated_to_fit_n_ctx"] == true {
            found.truncate(expected.len());
        }
        assert_eq!(found, expected, "{}: ids of {text:?}", self.what);
    }

    /// The logits after each of `tokens`, `[n_tokens, n_vocab]`.
    fn logits(&self, session: &mut Session, tokens: &[u32]) -> Vec<f32> {
        let mut all = Vec::new();
        session.rewind(0);
        session.feed_all(tokens, &mut |_, logits| all.extend_from_slice(logits)).unwrap();
        all
    }

    fn check_logits(&self, number: usize, prompt: &Value) {
        let Some(name) = self.weights.logits(number) else { return };
        let found = self.logits(&mut self.session(), &ids(&prompt["ids"]));
        let error = max_abs(&found, &self.reference.logits(&name));
        assert!(error <= MAX_LOGIT_ERROR, "{}: {name} differ by {error}", self.what);
        let found = self.logits(&mut self.session_with(false), &ids(&prompt["ids"]));
        let error = max_abs(&found, &self.reference.logits(&name));
        let most = match self.weights {
            Weights::BF16 => MAX_BF16_LOGIT_ERROR,
            _ => MAX_FAST_LOGIT_ERROR,
        };
        assert!(error <= most, "{}: {name} differ by {error}", self.what);
    }

    fn check_greedy(&self, prompt: &Value) {
        let expected = ids(&prompt["greedy"]);
        let margins = prompt["margin"].as_array().unwrap();
        let mut session = self.session();
        let mut greedy = Chain::new(SamplerOptions { temp: 0.0, ..SamplerOptions::default() });
        let found = session.generate(&mut greedy, &ids(&prompt["ids"])).take(expected.len());
        for (step, token) in found.enumerate() {
            if token.unwrap() != expected[step] {
                // What follows a near tie is another text.
                let margin = margins[step].as_f64().unwrap();
                let near = margin < self.weights.near_tie();
                assert!(near, "{}: token {step}, margin {margin}", self.what);
                return;
            }
        }
    }

    fn check_perplexity(&self) {
        let record = &self.reference.json["perplexity"];
        let (mut sum, mut n) = (0.0, 0);
        let mut session = self.session();
        for chunk in record["chunks"].as_array().unwrap() {
            let chunk = ids(chunk);
            let logits = self.logits(&mut session, &chunk);
            for (logits, &next) in logits.chunks_exact(self.model.n_vocab()).zip(&chunk[1..]) {
                sum -= log_probability(logits, next);
                n += 1;
            }
        }
        let (found, expected) =
            (f64::exp(sum / f64::from(n)), record[self.weights.perplexity()].as_f64().unwrap());
        let error = (found / expected - 1.0).abs();
        assert!(error <= MAX_PERPLEXITY_ERROR, "{}: perplexity {found}, not {expected}", self.what);
    }
}

fn log_probability(logits: &[f32], token: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    f64::from(logits[token as usize] - max) - sum.ln()
}

/// The containers of `model` that hold weights in Hugging Face's layout.
fn containers(oracle: &Path, model: &str) -> Vec<(String, PathBuf)> {
    let folder = oracle.join("models").join(model);
    let mut containers: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| !name.starts_with("meta") && name != "tokenizer-only")
        .collect();
    containers.sort();
    containers
}

fn every_container_gives_what_transformers_gave(model: &str) {
    let Some(oracle) = oracle(model) else { return };
    let reference = Reference::read(&oracle, model);
    let folder = tempfile::tempdir().unwrap();
    let containers = containers(&oracle, model);
    assert!(!containers.is_empty());
    for (container, path) in containers {
        let (what, weights) = (format!("{model}/{container}"), Weights::of(&container));
        Subject::load(&path, what.clone(), weights, &reference).check();

        let output = folder.path().join(format!("{container}.gguf"));
        let options = ConvertOptions { outtype: weights.outtype(), ..ConvertOptions::default() };
        let report = gristmill::convert(&path, &output, &options).unwrap();
        assert_eq!(report.lossless, report.tensors, "{what}");
        Subject::load(&output, format!("{what} as GGUF"), weights, &reference).check();
    }
}

macro_rules! models {
    ($($test:ident: $model:literal;)*) => { $(
        #[test]
        fn $test() {
            every_container_gives_what_transformers_gave($model);
        }
    )* };
}

models! {
    bloom_is_right: "bloom-a";
    gpt2_is_right: "gpt2-a";
    gptj_is_right: "gptj-a";
    the_smallest_gptj_is_right: "micro-gptj";
    llama_with_a_byte_level_tokenizer_and_a_tied_head_is_right: "llama-json";
    llama_with_as_many_key_heads_as_query_heads_is_right: "llama-mha";
    llama_with_grouped_heads_and_sentencepiece_is_right: "llama-sp";
    the_smallest_llama_is_right: "micro-llama";
    mpt_is_right: "mpt-a";
    neox_is_right: "neox-a";
}

/// Files by llama.cpp, and how far its own logits may be from ours on average: both quantize activations, in their
/// own ways.
const GGUF_FILES: [(&str, f32); 15] = [
    ("micro-llama/micro-llama.f16.gguf", 1e-3),
    ("llama-json/llama-json.bf16.gguf", 1e-2),
    ("llama-json/llama-json.Q8_0.gguf", 2e-2),
    ("mpt-a/mpt-a.q8_0.gguf", 2e-2),
    ("llama-sp/llama-sp.Q6_K.gguf", 2e-2),
    ("micro-llama/micro-llama.Q4_0.gguf", 2e-2),
    ("mpt-a/mpt-a.Q4_0.gguf", 2e-2),
    ("llama-sp/llama-sp.Q4_0.gguf", 2e-2),
    ("llama-sp/llama-sp.Q4_K_M.gguf", 2e-2),
    ("llama-sp/llama-sp.Q2_K.gguf", 2e-2),
    ("bloom-a/bloom-a.f16.gguf", 1e-3),
    ("bloom-a/bloom-a.Q8_0.gguf", 2e-2),
    ("gpt2-a/gpt2-a.q8_0.gguf", 2e-2),
    ("gpt2-a/gpt2-a.Q5_1.gguf", 2e-2),
    ("neox-a/neox-a.Q4_1.gguf", 2e-2),
];

#[test]
fn files_of_llama_cpp_run_as_there() {
    let Some(oracle) = oracle("files of llama.cpp") else { return };
    for (file, max_mean_error) in GGUF_FILES {
        let (model, name) = file.split_once('/').unwrap();
        let reference = Reference::read(&oracle, model);
        let subject =
            Subject::load(&oracle.join("gguf").join(file), file.into(), Weights::F32, &reference);
        let prompt = &reference.json["prompts"][0];
        subject.check_ids(prompt);
        let found = subject.logits(&mut subject.session(), &ids(&prompt["ids"]));
        let peer = oracle.join("peer").join(model).with_extension("safetensors");
        let peer = gristmill::safetensors::Reader::open(&peer).unwrap();
        let expected = floats(&peer.tensor(&format!("{name}|llama.cpp-2026")).unwrap().bytes);
        assert_eq!(found.len(), expected.len(), "{file}");
        let sum: f32 = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum();
        let error = sum / found.len() as f32;
        assert!(error <= max_mean_error, "{file}: logits differ by {error} on average");
    }
}
