//! Falcon (Almazrouei et al., 2023, "The Falcon Series of Open Language Models"): 7B, 40B, 180B, 11B.
//!
//! Attention and the feed-forward layer read the same residual and are added to it together. The small models
//! normalize it once, the large ones once for each:
//!
//! ```text
//! x ← x + W_o Attention(q, k, v) + W_down gelu(W_up LayerNorm(x))
//!
//! q, k, v = W_qkv LayerNorm(x)          7B
//! q, k, v = W_qkv LayerNorm₂(x)         40B, 180B
//! ```
//!
//! Positions are rotary (Su et al., 2021) over whole heads, in halves. All query heads share one head of keys and
//! values (Shazeer, 2019) or, in the large models, groups of them do. Linear layers have no biases, and the head may
//! be tied to the embedding. GELU is the exact form. Hugging Face stores queries, keys and values in such groups;
//! legacy ggml files keep its names, but have all queries first.
//!
//! The models of the RefinedWeb study (`falcon-rw-1b`) have other blocks, with biases and ALiBi; they are refused.

use gristmill_graph::{Gelu, Graph, RopeStyle, Var};
use gristmill_tensor::HeaderField::{Count, FileType, NMerges, NVocab, OneOf};
use gristmill_tensor::{
    Container, HeaderField, HeaderLayout, Metadata, TensorIndex, Unsaid, Vocabulary, keys,
};

use crate::weights::weights;
use crate::{
    Architecture, Config, ConfigKey, Description, Hparams, Result, Spelling, WeightRule, rope,
};

/// Falcon; see the module.
pub(crate) struct Falcon;

const CONFIG: &[ConfigKey] = &[
    ConfigKey::count("vocab_size", keys::VOCAB_SIZE).optional(),
    ConfigKey::count("max_position_embeddings", keys::CONTEXT_LENGTH).or(2048.0),
    ConfigKey::count("hidden_size", keys::EMBEDDING_LENGTH),
    ConfigKey::count("num_hidden_layers|n_layer", keys::BLOCK_COUNT),
    ConfigKey::count(N_HEAD, keys::HEAD_COUNT),
    ConfigKey::float("layer_norm_epsilon", keys::LAYER_NORM_EPS).or(1e-5),
    ConfigKey::float("rope_parameters.rope_theta|rope_theta", keys::ROPE_FREQ_BASE).or(10_000.0),
];

const N_HEAD: &str = "num_attention_heads|n_head";
const N_HEAD_KV: &str = "num_kv_heads|n_head_kv";

const WEIGHTS: &[WeightRule] = weights! {
    // role    house name (GGUF)            Hugging Face                                   legacy ggml, where it must be told
    Embedding "token_embd.weight"         = hf "transformer.word_embeddings.weight";
    Norm      "output_norm.weight"        = hf "transformer.ln_f.weight";
    Bias      "output_norm.bias"          = hf "transformer.ln_f.bias";
    Output    "output.weight" [optional]  = hf "lm_head.weight",                      ggml "lm_head.weight";
    // 7B, and 40B: the feed-forward layer's
    Norm      "blk.{}.attn_norm.weight"   = hf "transformer.h.{}.input_layernorm.weight",  hf "transformer.h.{}.ln_mlp.weight";
    Bias      "blk.{}.attn_norm.bias"     = hf "transformer.h.{}.input_layernorm.bias",    hf "transformer.h.{}.ln_mlp.bias";
    // 40B: attention's
    Norm      "blk.{}.attn_norm_2.weight" [optional] = hf "transformer.h.{}.ln_attn.weight", ggml "transformer.h.{}.ln_attn.weight";
    Bias      "blk.{}.attn_norm_2.bias" [optional]   = hf "transformer.h.{}.ln_attn.bias",   ggml "transformer.h.{}.ln_attn.bias";
    Linear    "blk.{}.attn_qkv.weight"    = hf "transformer.h.{}.self_attention.query_key_value.weight" @ GroupedQkv, ggml "transformer.h.{}.self_attention.query_key_value.weight";
    Linear    "blk.{}.attn_output.weight" = hf "transformer.h.{}.self_attention.dense.weight";
    Linear    "blk.{}.ffn_up.weight"      = hf "transformer.h.{}.mlp.dense_h_to_4h.weight";
    Linear    "blk.{}.ffn_down.weight"    = hf "transformer.h.{}.mlp.dense_4h_to_h.weight";
};

const GGML: &[HeaderLayout] = &[
    HeaderLayout {
        architecture: "falcon",
        producer: "rustformers, llm-rs",
        containers: &[Container::Ggml, Container::Ggjt],
        fields: &[
            NVocab,
            Count(keys::EMBEDDING_LENGTH),
            Count(keys::HEAD_COUNT),
            Count(keys::HEAD_COUNT_KV),
            Count(keys::BLOCK_COUNT),
            FileType,
        ],
        vocabulary: Vocabulary::Bytes,
        aligned: true,
        uncounted: 0,
        unsaid: UNSAID,
    },
    HeaderLayout {
        architecture: "falcon",
        producer: "GPT4All",
        containers: &[Container::Ggjt],
        fields: WITH_KIND,
        vocabulary: Vocabulary::Bytes,
        aligned: false,
        uncounted: 0,
        unsaid: UNSAID,
    },
    HeaderLayout {
        architecture: "falcon",
        producer: "ggllm.cpp until July 2023",
        containers: &[Container::Ggjt],
        fields: WITH_KIND,
        vocabulary: Vocabulary::Bytes,
        aligned: true,
        uncounted: 0,
        unsaid: UNSAID,
    },
    HeaderLayout {
        architecture: "falcon",
        producer: "ggllm.cpp",
        containers: &[Container::Ggcc],
        fields: &[
            NVocab,
            Count(keys::EMBEDDING_LENGTH),
            Count(keys::HEAD_COUNT),
            Count(keys::HEAD_COUNT_KV),
            Count(keys::BLOCK_COUNT),
            KIND,
            FileType,
            NMerges,
        ],
        vocabulary: Vocabulary::Bytes,
        aligned: true,
        uncounted: 0,
        unsaid: UNSAID,
    },
];

/// The size of the model, in billions of weights, which tells how many norms a block has.
const KIND: HeaderField = OneOf(&[7, 40]);

const WITH_KIND: &[HeaderField] = &[
    NVocab,
    Count(keys::EMBEDDING_LENGTH),
    Count(keys::HEAD_COUNT),
    Count(keys::HEAD_COUNT_KV),
    Count(keys::BLOCK_COUNT),
    KIND,
    FileType,
];

const UNSAID: &[(&str, Unsaid)] =
    &[(keys::CONTEXT_LENGTH, Unsaid::Count(2048)), (keys::LAYER_NORM_EPS, Unsaid::Float(1e-5))];

impl Architecture for Falcon {
    fn name(&self) -> &'static str {
        "falcon"
    }

    /// The last two are those of the first release.
    fn model_types(&self) -> &'static [&'static str] {
        &["falcon", "RefinedWeb", "RefinedWebModel"]
    }

    fn title(&self) -> &'static str {
        "Falcon"
    }

    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()> {
        config.only("alibi", &[false.into()])?;
        config.only("bias", &[false.into()])?;
        config.only("parallel_attn", &[true.into()])?;
        config.only("apply_residual_connection_post_layernorm", &[false.into()])?;
        config.only("activation", &["gelu".into()])?;
        config.translate(self.name(), CONFIG, metadata)?;
        let n_ff = match config.count("ffn_hidden_size")? {
            Some(n_ff) => n_ff,
            None => config.needed_count("hidden_size")?.saturating_mul(4),
        };
        let key = |suffix: &str| keys::arch(self.name(), suffix);
        metadata.set(key(keys::FEED_FORWARD_LENGTH), n_ff);
        metadata.set(key(keys::HEAD_COUNT_KV), n_head_kv(config)?);
        // llama.cpp's word for fused projections with all queries first.
        metadata.set(key(keys::TENSOR_DATA_LAYOUT), "jploski");
        rope::configure(config, self.name(), metadata)
    }

    fn describe(
        &self,
        hp: &Hparams,
        tensors: &TensorIndex,
        description: &mut Description<'_>,
    ) -> Result<()> {
        description.model("falcon", "FalconForCausalLM");
        description.retell(self.name(), CONFIG)?;
        // The large models have groups of heads, or one more norm, or both.
        let two_norms = tensors.find("blk.0.attn_norm_2.weight").is_some();
        let grouped = two_norms || (hp.n_head_kv > 1 && hp.n_head_kv < hp.n_head);
        description.set("new_decoder_architecture", grouped);
        if grouped {
            description.set("num_ln_in_parallel_attn", if two_norms { 2 } else { 1 });
        }
        description.set("multi_query", !grouped && hp.n_head_kv == 1);
        description.set(N_HEAD_KV, hp.n_head_kv);
        description.set("ffn_hidden_size", hp.n_ff);
        description.set("parallel_attn", true);
        for absent in ["alibi", "bias"] {
            description.set(absent, false);
        }
        description.set("activation", "gelu");
        rope::describe(hp, "rope_theta", description)
    }

    /// The first norm of a block is the feed-forward layer's where attention has its own.
    fn goes_by(&self, spelling: &Spelling, tensors: &TensorIndex) -> bool {
        let large = tensors.find("blk.0.attn_norm_2.weight").is_some();
        !spelling.name.contains(if large { "input_layernorm" } else { "ln_mlp" })
    }

    fn weights(&self) -> &'static [WeightRule] {
        WEIGHTS
    }

    fn ggml_headers(&self) -> &'static [HeaderLayout] {
        GGML
    }

    fn ignored(&self) -> &'static [&'static str] {
        &["rotary_emb.inv_freq"]
    }

    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g> {
        let rope = hp.rope(RopeStyle::Halves);
        let attention = hp.attention();
        let mut x = graph.tokens().embed("token_embd");
        for il in 0..hp.n_layer {
            let blk = |part: &str| format!("blk.{il}.{part}");
            let h = x.layer_norm(&blk("attn_norm"), hp.norm_eps);
            let own = blk("attn_norm_2");
            let for_attn = if graph.has(&own) { x.layer_norm(&own, hp.norm_eps) } else { h };
            let qkv = for_attn.linear(&blk("attn_qkv"));
            let [q, k, v] = qkv.split([hp.n_embd_q(), hp.n_embd_kv(), hp.n_embd_kv()]);
            let attn = q.rope(&rope).attend(k.rope(&rope), v, attention);
            let mlp = h.linear(&blk("ffn_up")).gelu(Gelu::Exact).linear(&blk("ffn_down"));
            x = x + attn.linear(&blk("attn_output")) + mlp;
        }
        // A model without a head of its own uses the embedding.
        let head = if graph.has("output") { "output" } else { "token_embd" };
        x.layer_norm("output_norm", hp.norm_eps).linear(head)
    }
}

/// Heads of keys and values, as they are spread over the fused matrix: groups in the large models, else one for all,
/// else one for each.
fn n_head_kv(config: &Config<'_>) -> Result<u32> {
    // The first release said no more of its large model than the number of groups.
    let grouped = match config.flag("new_decoder_architecture")? {
        Some(grouped) => grouped,
        None => config.get("n_head_kv").is_some(),
    };
    let multi_query = config.flag("multi_query")?.unwrap_or(true);
    match config.count(N_HEAD_KV)? {
        Some(n_head_kv) if grouped || !multi_query => Ok(n_head_kv),
        None if grouped || !multi_query => config.needed_count(N_HEAD),
        _ => Ok(1),
    }
}
