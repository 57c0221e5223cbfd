//! `bench model SHAPE TYPE OUT`: a GGUF file of a real model's size with random weights.
//!
//! Speed does not depend on the values, so nothing is downloaded and nothing quantised: blocks are noise with small
//! scales. The vocabulary is made up, of the right size and loadable by other programs.

use std::path::Path;

use gristmill_gguf::Gguf;
use gristmill_tensor::{AtomicFile, DType, Format, Metadata, ModelHeader, TensorInfo, keys};
use half::f16;

use crate::Result;
use crate::random::{Random, Weights};

/// A model's extents.
struct LlamaShape {
    name: &'static str,
    n_vocab: usize,
    n_embd: usize,
    n_head: usize,
    n_head_kv: usize,
    n_layer: usize,
    n_ff: usize,
}

const SHAPES: &[LlamaShape] = &[
    LlamaShape {
        name: "llama-7b",
        n_vocab: 32000,
        n_embd: 4096,
        n_head: 32,
        n_head_kv: 32,
        n_layer: 32,
        n_ff: 11008,
    },
    LlamaShape {
        name: "llama-1b",
        n_vocab: 32000,
        n_embd: 2048,
        n_head: 32,
        n_head_kv: 4,
        n_layer: 22,
        n_ff: 5632,
    },
];

/// `model SHAPE TYPE OUT`.
pub(crate) fn run(arguments: &[String]) -> Result {
    let [shape, dtype, out] = arguments else {
        let names: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        return Err(format!(
            "usage: cargo xtask bench model {{{}}} TYPE OUT.gguf",
            names.join("|")
        ));
    };
    let shape = SHAPES
        .iter()
        .find(|candidate| candidate.name == shape)
        .ok_or_else(|| format!("no shape is called {shape}"))?;
    let dtype = DType::from_name(dtype).ok_or_else(|| format!("no type is called {dtype}"))?;
    write(shape, dtype, Path::new(out)).map_err(|error| error.to_string())
}

fn write(shape: &LlamaShape, dtype: DType, out: &Path) -> gristmill_tensor::Result<()> {
    let metadata = metadata(shape);
    let tensors = tensors(shape, dtype);
    let header = ModelHeader { metadata: &metadata, tensors: &tensors };
    let sink = Gguf.create(AtomicFile::create(out, true)?, &header)?;
    let mut noise = Noise::new();
    for (index, info) in tensors.iter().enumerate() {
        let rows_per_slab = ((8 << 20) / info.row_bytes()).max(1);
        let n_bytes = info.n_bytes();
        let mut offset = 0;
        while offset < n_bytes {
            let len = (rows_per_slab * info.row_bytes()) as u64;
            let mut slab = vec![0; len.min(n_bytes - offset) as usize];
            noise.fill(info.dtype, &mut slab);
            sink.write(index, offset, &slab)?;
            offset += slab.len() as u64;
        }
    }
    sink.finish()
}

fn tensors(shape: &LlamaShape, dtype: DType) -> Vec<TensorInfo> {
    let LlamaShape { n_vocab, n_embd, n_head, n_head_kv, n_layer, n_ff, .. } = *shape;
    let n_kv = n_embd / n_head * n_head_kv;
    let matrix =
        |name: String, n_out: usize, n_in: usize| TensorInfo::new(name, dtype, [n_out, n_in]);
    let norm = |name: String| TensorInfo::new(name, DType::F32, [n_embd]);
    let mut list = vec![matrix("token_embd.weight".into(), n_vocab, n_embd)];
    for il in 0..n_layer {
        let blk = |part: &str| format!("blk.{il}.{part}.weight");
        list.push(norm(blk("attn_norm")));
        list.push(matrix(blk("attn_q"), n_embd, n_embd));
        list.push(matrix(blk("attn_k"), n_kv, n_embd));
        list.push(matrix(blk("attn_v"), n_kv, n_embd));
        list.push(matrix(blk("attn_output"), n_embd, n_embd));
        list.push(norm(blk("ffn_norm")));
        list.push(matrix(blk("ffn_gate"), n_ff, n_embd));
        list.push(matrix(blk("ffn_up"), n_ff, n_embd));
        list.push(matrix(blk("ffn_down"), n_embd, n_ff));
    }
    list.push(norm("output_norm.weight".into()));
    list.push(matrix("output.weight".into(), n_vocab, n_embd));
    list
}

fn metadata(shape: &LlamaShape) -> Metadata {
    let mut metadata = Metadata::new("benchmark model");
    metadata.set(keys::ARCHITECTURE, "llama");
    metadata.set(keys::NAME, shape.name);
    metadata.set(keys::QUANTIZATION_VERSION, 2u32);
    let counts = [
        (keys::VOCAB_SIZE, shape.n_vocab),
        (keys::CONTEXT_LENGTH, 4096),
        (keys::EMBEDDING_LENGTH, shape.n_embd),
        (keys::BLOCK_COUNT, shape.n_layer),
        (keys::FEED_FORWARD_LENGTH, shape.n_ff),
        (keys::HEAD_COUNT, shape.n_head),
        (keys::HEAD_COUNT_KV, shape.n_head_kv),
        (keys::ROPE_DIMENSION_COUNT, shape.n_embd / shape.n_head),
    ];
    for (suffix, value) in counts {
        metadata.set(keys::arch("llama", suffix), value as u32);
    }
    metadata.set(keys::arch("llama", keys::RMS_NORM_EPS), 1e-5f32);
    vocabulary(shape.n_vocab, &mut metadata);
    metadata
}

/// A SentencePiece vocabulary in LLaMA's order: three control tokens, the bytes, then made-up pieces.
fn vocabulary(n_vocab: usize, metadata: &mut Metadata) {
    let mut tokens = vec!["<unk>".to_string(), "<s>".into(), "</s>".into()];
    let mut types = vec![2i32, 3, 3];
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    types.resize(tokens.len(), 6);
    tokens.extend((tokens.len()..n_vocab).map(|id| format!("\u{2581}w{id}")));
    types.resize(n_vocab, 1);
    let scores: Vec<f32> = (0..n_vocab).map(|id| -(id as f32)).collect();
    metadata.set(keys::TOKENIZER_MODEL, "llama");
    metadata.set(keys::TOKENIZER_TOKENS, tokens);
    metadata.set(keys::TOKENIZER_SCORES, scores);
    metadata.set(keys::TOKENIZER_TOKEN_TYPE, types);
    metadata.set(keys::TOKENIZER_BOS_ID, 1u32);
    metadata.set(keys::TOKENIZER_EOS_ID, 2u32);
    metadata.set(keys::TOKENIZER_UNK_ID, 0u32);
}

/// Random weights of any type.
struct Noise {
    bits: Random,
    weights: Weights,
}

impl Noise {
    fn new() -> Noise {
        Noise { bits: Random::new(1), weights: Weights::new(2, 0.02) }
    }

    fn fill(&mut self, dtype: DType, slab: &mut [u8]) {
        match dtype {
            DType::F32 => {
                slab.chunks_exact_mut(4).for_each(|v| v.copy_from_slice(&1f32.to_le_bytes()))
            }
            DType::F16 => self.weights.fill(slab),
            DType::BF16 => {
                self.weights.fill(slab);
                for value in slab.chunks_exact_mut(2) {
                    let wide = f16::from_le_bytes([value[0], value[1]]).to_f32();
                    value.copy_from_slice(&half::bf16::from_f32(wide).to_le_bytes());
                }
            }
            _ => {
                self.bits.fill(slab);
                for block in slab.chunks_exact_mut(dtype.block_bytes()) {
                    for at in scale_offsets(dtype) {
                        block[*at..*at + 2].copy_from_slice(&f16::from_f32(0.002).to_le_bytes());
                    }
                }
            }
        }
    }
}

/// Where a block keeps its f16 scales, which must not be noise.
fn scale_offsets(dtype: DType) -> &'static [usize] {
    match dtype {
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        _ => &[0],
    }
}
