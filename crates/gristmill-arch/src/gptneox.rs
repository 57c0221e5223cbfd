//! GPT-NeoX (Black et al., 2022) and its relatives: Pythia, Dolly 2, RedPajama-INCITE, StableLM-Alpha.
//!
//! Attention and the feed-forward layer have normalizations of their own, and read either the same residual or, in
//! RedPajama's models, one after the other:
//!
//! ```text
//! parallel:    x ← x + Attention(LayerNorm₁(x)) + MLP(LayerNorm₂(x))
//! sequential:  x ← x + Attention(LayerNorm₁(x));  x ← x + MLP(LayerNorm₂(x))
//!
//! MLP(h) = W_down gelu(W_up h + b_up) + b_down
//! ```
//!
//! Positions are rotary (Su et al., 2021) over the first `n_rot` dimensions of each head, in halves. Every layer has a
//! bias, but for the head, which is not tied to the embedding. Queries, keys and values are one matrix, stored head
//! by head. GELU is the exact form. Legacy ggml files keep Hugging Face's names and its order of rows.

use gristmill_graph::{Gelu, Graph, RopeStyle, Var};
use gristmill_tensor::HeaderField::{Count, FileType, Flag, NVocab};
use gristmill_tensor::{Container, HeaderLayout, Metadata, TensorIndex, Unsaid, Vocabulary, keys};

use crate::config::accept_any_gelu;
use crate::weights::weights;
use crate::{Architecture, Config, ConfigKey, Description, Hparams, Result, WeightRule, rope};

/// GPT-NeoX; see the module.
pub(crate) struct GptNeoX;

const CONFIG: &[ConfigKey] = &[
    ConfigKey::count("vocab_size", keys::VOCAB_SIZE).optional(),
    ConfigKey::count("max_position_embeddings", keys::CONTEXT_LENGTH).or(2048.0),
    ConfigKey::count("hidden_size", keys::EMBEDDING_LENGTH),
    ConfigKey::count("num_hidden_layers", keys::BLOCK_COUNT),
    ConfigKey::count("num_attention_heads", keys::HEAD_COUNT),
    ConfigKey::count("intermediate_size", keys::FEED_FORWARD_LENGTH),
    ConfigKey::float("layer_norm_eps", keys::LAYER_NORM_EPS).or(1e-5),
    ConfigKey::float(ROPE_BASE, keys::ROPE_FREQ_BASE).or(10_000.0),
];

const ROPE_BASE: &str = "rope_parameters.rope_theta|rotary_emb_base|rope_theta";
const ROTARY_SHARE: &str = "rope_parameters.partial_rotary_factor|rotary_pct|partial_rotary_factor";

const WEIGHTS: &[WeightRule] = weights! {
    // role    house name (GGUF)            Hugging Face, legacy ggml
    Embedding "token_embd.weight"         = hf "gpt_neox.embed_in.weight";
    Norm      "output_norm.weight"        = hf "gpt_neox.final_layer_norm.weight";
    Bias      "output_norm.bias"          = hf "gpt_neox.final_layer_norm.bias";
    // Recent versions of Transformers call it by the name that all others have.
    Output    "output.weight"             = hf "embed_out.weight", hf "lm_head.weight";
    Norm      "blk.{}.attn_norm.weight"   = hf "gpt_neox.layers.{}.input_layernorm.weight";
    Bias      "blk.{}.attn_norm.bias"     = hf "gpt_neox.layers.{}.input_layernorm.bias";
    Linear    "blk.{}.attn_qkv.weight"    = hf "gpt_neox.layers.{}.attention.query_key_value.weight" @ GroupedQkv;
    Bias      "blk.{}.attn_qkv.bias"      = hf "gpt_neox.layers.{}.attention.query_key_value.bias" @ GroupedQkv;
    Linear    "blk.{}.attn_output.weight" = hf "gpt_neox.layers.{}.attention.dense.weight";
    Bias      "blk.{}.attn_output.bias"   = hf "gpt_neox.layers.{}.attention.dense.bias";
    Norm      "blk.{}.ffn_norm.weight"    = hf "gpt_neox.layers.{}.post_attention_layernorm.weight";
    Bias      "blk.{}.ffn_norm.bias"      = hf "gpt_neox.layers.{}.post_attention_layernorm.bias";
    Linear    "blk.{}.ffn_up.weight"      = hf "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight";
    Bias      "blk.{}.ffn_up.bias"        = hf "gpt_neox.layers.{}.mlp.dense_h_to_4h.bias";
    Linear    "blk.{}.ffn_down.weight"    = hf "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight";
    Bias      "blk.{}.ffn_down.bias"      = hf "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias";
};

const GGML: &[HeaderLayout] = &[
    HeaderLayout {
        architecture: "gptneox",
        producer: "ggml's examples since May 2023, ctransformers, llm-rs",
        containers: &[Container::Ggml, Container::Ggjt],
        fields: &[
            NVocab,
            Count(keys::CONTEXT_LENGTH),
            Count(keys::EMBEDDING_LENGTH),
            Count(keys::HEAD_COUNT),
            Count(keys::BLOCK_COUNT),
            Count(keys::ROPE_DIMENSION_COUNT),
            Flag(keys::USE_PARALLEL_RESIDUAL),
            FileType,
        ],
        vocabulary: Vocabulary::Bytes,
        aligned: true,
        uncounted: 0,
        unsaid: &[(keys::LAYER_NORM_EPS, Unsaid::Float(1e-5))],
    },
    HeaderLayout {
        architecture: "gptneox",
        producer: "ggml's examples until May 2023",
        containers: &[Container::Ggml],
        fields: &[
            NVocab,
            Count(keys::CONTEXT_LENGTH),
            Count(keys::EMBEDDING_LENGTH),
            Count(keys::HEAD_COUNT),
            Count(keys::BLOCK_COUNT),
            Count(keys::ROPE_DIMENSION_COUNT),
            FileType,
        ],
        vocabulary: Vocabulary::Bytes,
        aligned: true,
        uncounted: 0,
        unsaid: &[
            (keys::LAYER_NORM_EPS, Unsaid::Float(1e-5)),
            (keys::USE_PARALLEL_RESIDUAL, Unsaid::Flag(true)),
        ],
    },
];

impl Architecture for GptNeoX {
    fn name(&self) -> &'static str {
        "gptneox"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["gpt_neox"]
    }

    fn title(&self) -> &'static str {
        "GPT-NeoX, Pythia, Dolly 2, RedPajama, StableLM-Alpha"
    }

    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()> {
        accept_any_gelu(config, "hidden_act")?;
        config.only("attention_bias", &[true.into()])?;
        config.translate(self.name(), CONFIG, metadata)?;
        let key = |suffix: &str| keys::arch(self.name(), suffix);
        let parallel = config.flag("use_parallel_residual")?.unwrap_or(true);
        metadata.set(key(keys::USE_PARALLEL_RESIDUAL), parallel);
        metadata.set(key(keys::ROPE_DIMENSION_COUNT), n_rot(config)?);
        rope::configure(config, self.name(), metadata)
    }

    fn describe(
        &self,
        hp: &Hparams,
        _tensors: &TensorIndex,
        description: &mut Description<'_>,
    ) -> Result<()> {
        description.model("gpt_neox", "GPTNeoXForCausalLM");
        description.retell(self.name(), CONFIG)?;
        description.set("hidden_act", "gelu");
        description.set("use_parallel_residual", hp.parallel_residual);
        let share = rotary_share(hp.n_rot, hp.head_dim);
        rope::describe(hp, "rotary_emb_base", description)?;
        description.set(ROTARY_SHARE, share);
        description.set("rotary_pct", share);
        Ok(())
    }

    fn required(&self) -> &'static [&'static str] {
        &[keys::USE_PARALLEL_RESIDUAL]
    }

    fn weights(&self) -> &'static [WeightRule] {
        WEIGHTS
    }

    fn ggml_headers(&self) -> &'static [HeaderLayout] {
        GGML
    }

    fn ignored(&self) -> &'static [&'static str] {
        &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"]
    }

    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g> {
        let rope = hp.rope(RopeStyle::Halves);
        let attention = hp.attention();
        let mut x = graph.tokens().embed("token_embd");
        for il in 0..hp.n_layer {
            let blk = |part: &str| format!("blk.{il}.{part}");
            let qkv = x.layer_norm(&blk("attn_norm"), hp.norm_eps).linear(&blk("attn_qkv"));
            let [q, k, v] = qkv.split([hp.n_embd_q(), hp.n_embd_kv(), hp.n_embd_kv()]);
            let attn = q.rope(&rope).attend(k.rope(&rope), v, attention);
            let after = x + attn.linear(&blk("attn_output"));
            let residual = if hp.parallel_residual { x } else { after };
            let h = residual.layer_norm(&blk("ffn_norm"), hp.norm_eps);
            x = after + h.linear(&blk("ffn_up")).gelu(Gelu::Exact).linear(&blk("ffn_down"));
        }
        x.layer_norm("output_norm", hp.norm_eps).linear("output")
    }
}

/// Rotated dimensions of each head: a share of it, a quarter if nothing is said.
fn n_rot(config: &Config<'_>) -> Result<u32> {
    let n_embd = config.needed_count("hidden_size")?;
    let n_head = config.needed_count("num_attention_heads")?;
    let share = config.double(ROTARY_SHARE)?.unwrap_or(0.25);
    let head_dim = n_embd.checked_div(n_head).unwrap_or(0);
    Ok((f64::from(head_dim) * share) as u32)
}

/// The share of `n_rot` in `head_dim`, such that their product, of which the fraction is dropped, is `n_rot` again.
fn rotary_share(n_rot: usize, head_dim: usize) -> f64 {
    let share = n_rot as f64 / head_dim as f64;
    match (head_dim as f64 * share) as usize == n_rot {
        true => share,
        false => share.next_up(),
    }
}
