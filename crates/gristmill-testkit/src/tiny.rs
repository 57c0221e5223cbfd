//! Whole models of a few kilobytes, from a seed.
//!
//! The layouts are written out here once more, apart from the architectures' own tables, so that the two check each
//! other. Weights are random but of the size of trained ones, so that no layer is without effect on the logits.

mod bloom;
mod falcon;
mod gpt2;
mod gptj;
mod gptneox;
mod llama;
mod mpt;

use std::path::Path;

use gristmill_tensor::{DType, Metadata, Shape, TensorInfo};

use crate::tokenizer::{N_VOCAB, tokenizer_json};
use crate::{MemoryCheckpoint, Rng};

/// What [`tiny`] makes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed of the weights.
    pub seed: u64,
    /// Blocks.
    pub n_layer: usize,
    /// Width; a multiple of 32 keeps every row whole blocks of the simple quantized types.
    pub n_embd: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads (LLaMA and MPT; Falcon, whose small model has one if this is no less than `n_head`).
    pub n_head_kv: usize,
    /// Width of the feed-forward layer (but for BLOOM, where it is told by the width).
    pub n_ff: usize,
    /// Context.
    pub n_ctx: usize,
    /// F32, F16 or BF16.
    pub dtype: DType,
    /// Whether the head is the embedding (GPT-2, Falcon and LLaMA; MPT's and BLOOM's always is, GPT-J's and GPT-NeoX's
    /// never).
    pub tied: bool,
    /// Whether optional biases are there (LLaMA and MPT).
    pub biases: bool,
    /// More members of `config.json`, as JSON text: `"rope_scaling": { … }`. They win over the usual ones.
    pub config: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            n_layer: 2,
            n_embd: 32,
            n_head: 4,
            n_head_kv: 4,
            n_ff: 64,
            n_ctx: 64,
            dtype: DType::F32,
            tied: false,
            biases: false,
            config: String::new(),
        }
    }
}

/// A model as its publisher would upload it.
pub struct Tiny {
    /// The weights, under Hugging Face's names, without metadata.
    pub checkpoint: MemoryCheckpoint,
    /// The text of `config.json`.
    pub config: String,
    /// The text of `tokenizer.json`.
    pub tokenizer: String,
}

/// A random model of this architecture, as `general.architecture` names it, with a byte-level tokenizer of 288 tokens.
///
/// # Panics
/// For architectures without a layout here and for other types.
pub fn tiny(arch: &str, options: &Options) -> Tiny {
    let (config, shapes) = match arch {
        "bloom" => bloom::model(options),
        "falcon" => falcon::model(options),
        "gpt2" => gpt2::model(options),
        "gptj" => gptj::model(options),
        "gptneox" => gptneox::model(options),
        "llama" => llama::model(options),
        "mpt" => mpt::model(options),
        other => panic!("no tiny model of architecture {other}"),
    };
    let mut rng = Rng::new(options.seed);
    let tensors: Vec<_> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = weight(&mut rng, &name, &shape);
            let bytes = values.iter().flat_map(|&value| encode(value, options.dtype)).collect();
            (TensorInfo { name, dtype: options.dtype, shape: Shape::new(shape) }, bytes)
        })
        .collect();
    let separator = if options.config.is_empty() { "" } else { ",\n  " };
    let config = format!(
        "{{\n  {config},\n  \"vocab_size\": {N_VOCAB},\n  \"bos_token_id\": {end},\n  \
         \"eos_token_id\": {end}{separator}{}\n}}\n",
        options.config,
        end = N_VOCAB - 1
    );
    let name = format!("tiny-{arch}");
    let checkpoint = MemoryCheckpoint::new(&*name, Metadata::new(&*name), tensors);
    Tiny { checkpoint, config, tokenizer: tokenizer_json() }
}

impl Tiny {
    /// Writes `model.safetensors`, `config.json` and `tokenizer.json` into `folder`.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn save(self, folder: &Path) -> std::io::Result<()> {
        let mut header = String::new();
        let mut data = Vec::new();
        for (info, bytes) in self.checkpoint.into_tensors() {
            let separator = if header.is_empty() { "" } else { "," };
            let (name, dtype, shape) = (&info.name, info.dtype, &info.shape);
            let (start, end) = (data.len(), data.len() + bytes.len());
            header += &format!(
                r#"{separator}"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#
            );
            data.extend(bytes);
        }
        let header = format!("{{{header}}}");
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(data);
        std::fs::write(folder.join("model.safetensors"), file)?;
        std::fs::write(folder.join("config.json"), self.config)?;
        std::fs::write(folder.join("tokenizer.json"), self.tokenizer)
    }
}

type Shapes = Vec<(String, Vec<usize>)>;

/// Adds `{name}.weight`, and `{name}.bias` when wanted.
fn add(shapes: &mut Shapes, name: impl std::fmt::Display, shape: &[usize], bias: bool) {
    shapes.push((format!("{name}.weight"), shape.to_vec()));
    if bias {
        shapes.push((format!("{name}.bias"), vec![shape[0]]));
    }
}

/// Values of the size of trained ones: gains near one, small biases, matrices that keep the variance.
fn weight(rng: &mut Rng, name: &str, shape: &[usize]) -> Vec<f32> {
    match *shape {
        [n] if name.ends_with(".bias") => rng.normals(n, 0.1),
        [n] => rng.normals(n, 0.1).into_iter().map(|gain| 1.0 + gain).collect(),
        [n_out, n_in] => rng.normals(n_out * n_in, 1.0 / (n_in as f32).sqrt()),
        _ => panic!("vectors and matrices only"),
    }
}

/// The bytes of a value of moderate size, cut to the type's precision.
fn encode(value: f32, dtype: DType) -> Vec<u8> {
    let bits = value.to_bits();
    match dtype {
        DType::F32 => bits.to_le_bytes().to_vec(),
        DType::BF16 => ((bits >> 16) as u16).to_le_bytes().to_vec(),
        // Rebias the exponent from 127 to 15, drop 13 bits of the fraction.
        DType::F16 if value.abs() >= 2f32.powi(-14) => {
            let magnitude = ((bits & 0x7fff_ffff) >> 13) - ((127 - 15) << 10);
            ((bits >> 16 & 0x8000) | magnitude).to_le_bytes()[..2].to_vec()
        }
        DType::F16 => vec![0, 0],
        other => panic!("no tiny model of {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_tensor::Checkpoint;

    #[test]
    fn the_same_seed_gives_the_same_model() {
        for arch in ["bloom", "falcon", "gpt2", "gptj", "gptneox", "llama", "mpt"] {
            let [a, b, c] =
                [1, 1, 2].map(|seed| tiny(arch, &Options { seed, ..Options::default() }));
            let data = |model: Tiny| model.checkpoint.into_tensors();
            let (a, b, c) = (data(a), data(b), data(c));
            assert!(a == b && a != c, "{arch}");
        }
    }

    #[test]
    fn half_precision_is_the_truncated_value() {
        assert_eq!(encode(1.0, DType::F16), [0x00, 0x3c]);
        assert_eq!(encode(-1.5, DType::F16), [0x00, 0xbe]);
        assert_eq!(encode(0.1, DType::F16), [0x66, 0x2e]);
        assert_eq!(encode(1e-6, DType::F16), [0, 0]);
        assert_eq!(encode(1.0, DType::BF16), [0x80, 0x3f]);
    }

    #[test]
    fn options_shape_the_model() {
        let options = Options { n_head_kv: 2, tied: true, biases: true, ..Options::default() };
        let model = tiny("llama", &options);
        let shape = |name| model.checkpoint.find(name).map(|info| info.shape.dims().to_vec());
        assert_eq!(shape("model.layers.1.self_attn.k_proj.weight"), Some(vec![16, 32]));
        assert_eq!(shape("model.layers.1.self_attn.k_proj.bias"), Some(vec![16]));
        assert_eq!(shape("lm_head.weight"), None);
    }
}
