//! LLaMA (Touvron et al., 2023) and its many relatives: LLaMA 1, 2 and 3, Mistral, TinyLlama, SmolLM2.
//!
//! A block is attention and a gated feed-forward layer (Shazeer, 2020), each behind its own root mean square
//! normalization:
//!
//! ```text
//! x ← x + Attention(RmsNorm(x))
//! x ← x + W_down (silu(W_gate h) * W_up h)          h = RmsNorm(x)
//! ```
//!
//! Positions are rotary (Su et al., 2021) over whole heads, in neighbouring pairs; several query heads may share the
//! keys and values of one (Ainslie et al., 2023). Mistral sees only a window of tokens (Jiang et al., 2023). The head
//! may be tied to the embedding, heads may be wider or narrower than `n_embd / n_head`, and any projection may have a
//! bias. Stretched contexts are the matter of [`RopeScaling`](crate::RopeScaling).

use gristmill_graph::{Graph, RopeStyle, Var};
use gristmill_tensor::HeaderField::{Count, FileType, NMult, NVocab};
use gristmill_tensor::{
    Container, DType, HeaderLayout, Metadata, TensorIndex, TensorInfo, Unsaid, Vocabulary, keys,
};

use crate::architecture::infer_n_ff;
use crate::hparams::ROPE_FREQS;
use crate::weights::weights;
use crate::{
    Architecture, Config, ConfigKey, Description, Error, Hparams, Result, WeightRule, rope,
};

/// LLaMA and relatives; see the module.
pub(crate) struct Llama;

const CONFIG: &[ConfigKey] = &[
    // Hugging Face's config.json | Meta's and Mistral's params.json
    ConfigKey::count("hidden_size|dim", keys::EMBEDDING_LENGTH),
    ConfigKey::count("num_hidden_layers|n_layers", keys::BLOCK_COUNT),
    ConfigKey::count("num_attention_heads|n_heads", keys::HEAD_COUNT),
    ConfigKey::count("num_key_value_heads|n_kv_heads", keys::HEAD_COUNT_KV).optional(),
    ConfigKey::count("head_dim", keys::KEY_LENGTH).optional(),
    ConfigKey::count("head_dim", keys::VALUE_LENGTH).optional(),
    ConfigKey::float("rms_norm_eps|norm_eps", keys::RMS_NORM_EPS).or(1e-6),
    ConfigKey::float(ROPE_THETA, keys::ROPE_FREQ_BASE).or(10_000.0),
    ConfigKey::count("sliding_window", keys::SLIDING_WINDOW).optional(),
];

const ROPE_THETA: &str = "rope_parameters.rope_theta|rope_theta";
const N_CTX: &str = "max_position_embeddings|max_sequence_length|max_seq_len";
const N_FF: &str = "intermediate_size|hidden_dim";

const WEIGHTS: &[WeightRule] = weights! {
    // role    house name (GGUF)            Hugging Face                                             Meta, legacy ggml
    Embedding "token_embd.weight"         = hf "model.embed_tokens.weight",                          ggml "tok_embeddings.weight";
    Norm      "output_norm.weight"        = hf "model.norm.weight",                                  ggml "norm.weight";
    Output    "output.weight" [optional]  = hf "lm_head.weight",                                     ggml "output.weight";
    RopeFreqs "rope_freqs.weight" [optional];
    Norm      "blk.{}.attn_norm.weight"   = hf "model.layers.{}.input_layernorm.weight",             ggml "layers.{}.attention_norm.weight";
    Linear    "blk.{}.attn_q.weight"      = hf "model.layers.{}.self_attn.q_proj.weight" @ InterleaveRope Query, ggml "layers.{}.attention.wq.weight";
    Linear    "blk.{}.attn_k.weight"      = hf "model.layers.{}.self_attn.k_proj.weight" @ InterleaveRope Key,   ggml "layers.{}.attention.wk.weight";
    Linear    "blk.{}.attn_v.weight"      = hf "model.layers.{}.self_attn.v_proj.weight",            ggml "layers.{}.attention.wv.weight";
    Linear    "blk.{}.attn_output.weight" = hf "model.layers.{}.self_attn.o_proj.weight",            ggml "layers.{}.attention.wo.weight";
    Norm      "blk.{}.ffn_norm.weight"    = hf "model.layers.{}.post_attention_layernorm.weight",    ggml "layers.{}.ffn_norm.weight";
    Linear    "blk.{}.ffn_gate.weight"    = hf "model.layers.{}.mlp.gate_proj.weight",               ggml "layers.{}.feed_forward.w1.weight";
    Linear    "blk.{}.ffn_up.weight"      = hf "model.layers.{}.mlp.up_proj.weight",                 ggml "layers.{}.feed_forward.w3.weight";
    Linear    "blk.{}.ffn_down.weight"    = hf "model.layers.{}.mlp.down_proj.weight",               ggml "layers.{}.feed_forward.w2.weight";
    // attention_bias and mlp_bias
    Bias "blk.{}.attn_q.bias" [optional]      = hf "model.layers.{}.self_attn.q_proj.bias" @ InterleaveRope Query;
    Bias "blk.{}.attn_k.bias" [optional]      = hf "model.layers.{}.self_attn.k_proj.bias" @ InterleaveRope Key;
    Bias "blk.{}.attn_v.bias" [optional]      = hf "model.layers.{}.self_attn.v_proj.bias";
    Bias "blk.{}.attn_output.bias" [optional] = hf "model.layers.{}.self_attn.o_proj.bias";
    Bias "blk.{}.ffn_gate.bias" [optional]    = hf "model.layers.{}.mlp.gate_proj.bias";
    Bias "blk.{}.ffn_up.bias" [optional]      = hf "model.layers.{}.mlp.up_proj.bias";
    Bias "blk.{}.ffn_down.bias" [optional]    = hf "model.layers.{}.mlp.down_proj.bias";
};

const GGML: &[HeaderLayout] = &[HeaderLayout {
    architecture: "llama",
    producer: "llama.cpp, llm-rs",
    containers: &[Container::Ggjt, Container::Ggmf, Container::Ggml],
    fields: &[
        NVocab,
        Count(keys::EMBEDDING_LENGTH),
        NMult,
        Count(keys::HEAD_COUNT),
        Count(keys::BLOCK_COUNT),
        Count(keys::ROPE_DIMENSION_COUNT),
        FileType,
    ],
    vocabulary: Vocabulary::SentencePiece,
    aligned: true,
    uncounted: 0,
    // Runtimes were told these on their command lines, or took the values of LLaMA 1.
    unsaid: &[
        (keys::CONTEXT_LENGTH, Unsaid::Count(2048)),
        (keys::RMS_NORM_EPS, Unsaid::Float(1e-6)),
    ],
}];

impl Architecture for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["llama", "mistral"]
    }

    fn title(&self) -> &'static str {
        "LLaMA 1/2/3, Mistral, TinyLlama, SmolLM2"
    }

    /// Meta's `params.json`.
    fn recognizes(&self, config: &Config<'_>) -> bool {
        ["dim", "n_layers", "n_heads"].iter().all(|key| config.get(key).is_some())
    }

    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()> {
        config.only("hidden_act", &["silu".into(), "swish".into()])?;
        let partial = "rope_parameters.partial_rotary_factor|partial_rotary_factor";
        config.only(partial, &[1.into(), 1.0.into()])?;
        if let Some(experts) = config.get("num_local_experts|moe") {
            let cure = "mixtures of experts are not; take a dense model";
            return Err(config.unsupported("num_local_experts", experts, cure));
        }
        config.translate(self.name(), CONFIG, metadata)?;
        let mut set =
            |suffix: &str, value: u32| metadata.set(keys::arch(self.name(), suffix), value);
        // Meta writes -1 where the tokenizer decides.
        let told = config.get("vocab_size").and_then(serde_json::Value::as_i64) != Some(-1);
        if let Some(n_vocab) = if told { config.count("vocab_size")? } else { None } {
            set(keys::VOCAB_SIZE, n_vocab);
        }
        set(keys::CONTEXT_LENGTH, n_ctx(config)?);
        set(keys::FEED_FORWARD_LENGTH, n_ff(config)?);
        set(keys::ROPE_DIMENSION_COUNT, head_dim(config)?);
        rope::configure(config, self.name(), metadata)
    }

    fn describe(
        &self,
        hp: &Hparams,
        tensors: &TensorIndex,
        description: &mut Description<'_>,
    ) -> Result<()> {
        let has = |part: &str| tensors.find(&format!("blk.0.{part}.bias")).is_some();
        let attention_bias =
            ["attn_q", "attn_k", "attn_v", "attn_output"].iter().any(|part| has(part));
        let mlp_bias = ["ffn_gate", "ffn_up", "ffn_down"].iter().any(|part| has(part));
        // Of the two models with these weights, only Mistral's has a window, and only LLaMA's has biases.
        match hp.window {
            Some(_) if attention_bias || mlp_bias => {
                return Err(Error::Unsupported {
                    file: description.origin().into(),
                    key: keys::arch(self.name(), keys::SLIDING_WINDOW),
                    found: "beside biases".into(),
                    cure: "no model of Transformers has both; keep the file in GGUF".into(),
                });
            }
            Some(_) => description.model("mistral", "MistralForCausalLM"),
            None => {
                description.model("llama", "LlamaForCausalLM");
                description.set("attention_bias", attention_bias);
                description.set("mlp_bias", mlp_bias);
            }
        }
        description.retell(self.name(), CONFIG)?;
        description.set("num_key_value_heads", hp.n_head_kv);
        description.set(N_CTX, hp.n_ctx);
        description.set(N_FF, hp.n_ff);
        description.set("hidden_act", "silu");
        rope::describe(hp, "rope_theta", description)
    }

    fn extra_tensors(&self, config: &Config<'_>) -> Result<Vec<(TensorInfo, Vec<u8>)>> {
        let base = config.float(ROPE_THETA)?.unwrap_or(10_000.0);
        let factors = rope::llama3_factors(config, head_dim(config)? as usize, base)?;
        Ok(factors
            .map(|factors| {
                let info = TensorInfo::new(ROPE_FREQS, DType::F32, [factors.len()]);
                (info, factors.iter().flat_map(|factor| factor.to_le_bytes()).collect())
            })
            .into_iter()
            .collect())
    }

    fn weights(&self) -> &'static [WeightRule] {
        WEIGHTS
    }

    fn ggml_headers(&self) -> &'static [HeaderLayout] {
        GGML
    }

    /// Heads of keys and values, which runtimes were told on their command lines, by the rows of the key matrix.
    fn infer(&self, tensors: &TensorIndex, metadata: &mut Metadata) -> Result<()> {
        infer_n_ff(self.name(), tensors, metadata);
        let key = |suffix: &str| keys::arch(self.name(), suffix);
        let told = |suffix| metadata.get_usize(&key(suffix));
        let (n_embd, n_head) = (told(keys::EMBEDDING_LENGTH)?, told(keys::HEAD_COUNT)?);
        let n_rows = tensors.find("blk.0.attn_k.weight").map(|info| info.shape.rows());
        if let (Some(n_embd), Some(n_head), Some(n_rows)) = (n_embd, n_head, n_rows)
            && let Some(head_dim) = n_embd.checked_div(n_head).filter(|&head_dim| head_dim > 0)
            && !metadata.contains(&key(keys::HEAD_COUNT_KV))
        {
            metadata.set(key(keys::HEAD_COUNT_KV), (n_rows / head_dim) as u32);
        }
        Ok(())
    }

    fn ignored(&self) -> &'static [&'static str] {
        &["rotary_emb.inv_freq", "rope.freqs"]
    }

    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g> {
        let rope = hp.rope(RopeStyle::Interleaved);
        let attention = hp.attention();
        let mut x = graph.tokens().embed("token_embd");
        for il in 0..hp.n_layer {
            let blk = |part: &str| format!("blk.{il}.{part}");
            let h = x.rms_norm(&blk("attn_norm"), hp.norm_eps);
            let q = h.linear(&blk("attn_q")).rope(&rope);
            let k = h.linear(&blk("attn_k")).rope(&rope);
            let v = h.linear(&blk("attn_v"));
            x = x + q.attend(k, v, attention).linear(&blk("attn_output"));
            let h = x.rms_norm(&blk("ffn_norm"), hp.norm_eps);
            let gate = h.linear(&blk("ffn_gate")).silu();
            let up = h.linear(&blk("ffn_up"));
            x = x + (gate * up).linear(&blk("ffn_down"));
        }
        // A model without a head of its own uses the embedding.
        let head = if graph.has("output") { "output" } else { "token_embd" };
        x.rms_norm("output_norm", hp.norm_eps).linear(head)
    }
}

/// Width of a head: told, or the share of one head. Bounded, since tables are computed from it.
fn head_dim(config: &Config<'_>) -> Result<u32> {
    let rule = "heads should be 1 to 16384 wide and fill the width";
    if let Some(told) = config.count("head_dim")? {
        let sound = (1..=1 << 14).contains(&told);
        return if sound { Ok(told) } else { Err(config.bad("head_dim", &told.into(), rule)) };
    }
    let n_embd = config.needed_count("hidden_size|dim")?;
    let n_head = config.needed_count("num_attention_heads|n_heads")?;
    n_embd
        .checked_div(n_head)
        .filter(|share| (1..=1 << 14).contains(share) && n_embd % n_head == 0)
        .ok_or_else(|| config.bad("num_attention_heads", &n_head.into(), rule))
}

/// Meta's files do not tell the context; what else they hold tells the generation.
fn n_ctx(config: &Config<'_>) -> Result<u32> {
    if let Some(n_ctx) = config.count(N_CTX)? {
        return Ok(n_ctx);
    }
    let theta = config.float("rope_theta")?.unwrap_or(10_000.0);
    let eps = config.float("norm_eps")?.unwrap_or(1e-6);
    let llama_3_1 = config.flag("use_scaled_rope")? == Some(true);
    let generations = [
        (llama_3_1, 131_072),
        (theta == 500_000.0, 8192),     // Llama 3
        (theta == 1_000_000.0, 16_384), // Code Llama
        (eps == 1e-5, 4096),            // Llama 2
    ];
    Ok(generations.iter().find(|(told, _)| *told).map_or(2048, |(_, n_ctx)| *n_ctx))
}

/// Meta's files tell the width of the feed-forward layer by a formula: two thirds of four times the width, stretched,
/// rounded up.
fn n_ff(config: &Config<'_>) -> Result<u32> {
    if let Some(n_ff) = config.count(N_FF)? {
        return Ok(n_ff);
    }
    let multiple_of = config.needed_count("intermediate_size|hidden_dim|multiple_of")?;
    let n_embd = config.needed_count("hidden_size|dim")?;
    let stretch = f64::from(config.float("ffn_dim_multiplier")?.unwrap_or(1.0));
    let n_ff = (u64::from(n_embd) * 8 / 3) as f64 * stretch;
    (n_ff as u64)
        .checked_next_multiple_of(multiple_of.into())
        .and_then(|n_ff| n_ff.try_into().ok())
        .ok_or_else(|| config.bad("multiple_of", &multiple_of.into(), "it should be a small count"))
}
