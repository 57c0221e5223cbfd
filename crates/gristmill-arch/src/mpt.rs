//! MPT (MosaicML, 2023; "Introducing MPT-7B"), with the variants that MosaicML's code knows.
//!
//! A block is attention and a feed-forward layer, each behind its own layer normalization:
//!
//! ```text
//! x ← x + W_o Attention(q, k, v)          q, k, v = clamp(W_qkv LayerNorm(x))
//! x ← x + W_down gelu(W_up LayerNorm(x))
//! ```
//!
//! Positions are biases on the scores (ALiBi, Press et al., 2021), else a learned table that is added to the
//! embedding, else nothing. Queries, keys and values are one matrix, clamped when the model says so, each normalized
//! once more when it has the norms for it. The published models have no biases and tie the head to the embedding; both
//! are read from the tensors. GELU is the exact form. Legacy ggml files keep Hugging Face's names.
//!
//! Transformers' own port ignores `alibi_bias_max`, `logit_scale` and `no_bias: false`; here the configuration counts.

use gristmill_graph::{Gelu, Graph, Var};
use gristmill_tensor::HeaderField::{Count, FileType, Float, NVocab, NVocabAgain};
use gristmill_tensor::{Container, HeaderLayout, Metadata, TensorIndex, Unsaid, Vocabulary, keys};
use serde_json::Value;

use crate::describe::decimal;
use crate::weights::weights;
use crate::{Architecture, Config, ConfigKey, Description, Hparams, Result, WeightRule};

/// MPT; see the module.
pub(crate) struct Mpt;

const CONFIG: &[ConfigKey] = &[
    ConfigKey::count("vocab_size", keys::VOCAB_SIZE).optional(),
    ConfigKey::count("max_seq_len", keys::CONTEXT_LENGTH).or(2048.0),
    ConfigKey::count("d_model|hidden_size", keys::EMBEDDING_LENGTH),
    ConfigKey::count("n_layers|num_hidden_layers", keys::BLOCK_COUNT),
    ConfigKey::count("n_heads|num_attention_heads", keys::HEAD_COUNT),
    ConfigKey::float("layer_norm_epsilon", keys::LAYER_NORM_EPS).or(1e-5),
    ConfigKey::float("attn_config.clip_qkv", keys::CLAMP_KQV).optional(),
    ConfigKey::float("attn_config.softmax_scale", keys::ATTENTION_SCALE).optional(),
];

const WEIGHTS: &[WeightRule] = weights! {
    // role    house name (GGUF)                        Hugging Face, legacy ggml
    Embedding "token_embd.weight"                     = hf "transformer.wte.weight";
    Position  "position_embd.weight" [optional]       = hf "transformer.wpe.weight";
    Norm      "output_norm.weight"                    = hf "transformer.norm_f.weight";
    Output    "output.weight" [optional]              = hf "lm_head.weight";
    Norm      "blk.{}.attn_norm.weight"               = hf "transformer.blocks.{}.norm_1.weight";
    Linear    "blk.{}.attn_qkv.weight"                = hf "transformer.blocks.{}.attn.Wqkv.weight";
    Norm      "blk.{}.attn_q_norm.weight" [optional]  = hf "transformer.blocks.{}.attn.q_ln.weight";
    Norm      "blk.{}.attn_k_norm.weight" [optional]  = hf "transformer.blocks.{}.attn.k_ln.weight";
    Linear    "blk.{}.attn_output.weight"             = hf "transformer.blocks.{}.attn.out_proj.weight";
    Norm      "blk.{}.ffn_norm.weight"                = hf "transformer.blocks.{}.norm_2.weight";
    Linear    "blk.{}.ffn_up.weight"                  = hf "transformer.blocks.{}.ffn.up_proj.weight";
    Linear    "blk.{}.ffn_down.weight"                = hf "transformer.blocks.{}.ffn.down_proj.weight";
    // no_bias: false
    Bias      "output_norm.bias" [optional]           = hf "transformer.norm_f.bias";
    Bias      "blk.{}.attn_norm.bias" [optional]      = hf "transformer.blocks.{}.norm_1.bias";
    Bias      "blk.{}.attn_qkv.bias" [optional]       = hf "transformer.blocks.{}.attn.Wqkv.bias";
    Bias      "blk.{}.attn_q_norm.bias" [optional]    = hf "transformer.blocks.{}.attn.q_ln.bias";
    Bias      "blk.{}.attn_k_norm.bias" [optional]    = hf "transformer.blocks.{}.attn.k_ln.bias";
    Bias      "blk.{}.attn_output.bias" [optional]    = hf "transformer.blocks.{}.attn.out_proj.bias";
    Bias      "blk.{}.ffn_norm.bias" [optional]       = hf "transformer.blocks.{}.norm_2.bias";
    Bias      "blk.{}.ffn_up.bias" [optional]         = hf "transformer.blocks.{}.ffn.up_proj.bias";
    Bias      "blk.{}.ffn_down.bias" [optional]       = hf "transformer.blocks.{}.ffn.down_proj.bias";
};

const GGML: &[HeaderLayout] = &[
    HeaderLayout {
        architecture: "mpt",
        producer: "ggml's examples, ctransformers, llm-rs",
        containers: &[Container::Ggml, Container::Ggjt],
        fields: &[
            Count(keys::EMBEDDING_LENGTH),
            Count(keys::CONTEXT_LENGTH),
            Count(keys::HEAD_COUNT),
            Count(keys::BLOCK_COUNT),
            NVocab,
            Float(keys::MAX_ALIBI_BIAS),
            Float(keys::CLAMP_KQV),
            FileType,
        ],
        vocabulary: Vocabulary::Latin1,
        aligned: true,
        // ggml's quantizer for MPT is of 17 May 2023 and first forgot to count.
        uncounted: 1,
        unsaid: UNSAID,
    },
    HeaderLayout {
        architecture: "mpt",
        producer: "GPT4All",
        containers: &[Container::Ggmm],
        fields: &[
            NVocab,
            Count(keys::CONTEXT_LENGTH),
            Count(keys::BLOCK_COUNT),
            Count(keys::HEAD_COUNT),
            Count(keys::EMBEDDING_LENGTH),
            Float(keys::MAX_ALIBI_BIAS),
            Float(keys::CLAMP_KQV),
            FileType,
            NVocabAgain,
        ],
        vocabulary: Vocabulary::Marked,
        aligned: true,
        uncounted: 0,
        unsaid: UNSAID,
    },
];

const UNSAID: &[(&str, Unsaid)] = &[(keys::LAYER_NORM_EPS, Unsaid::Float(1e-5))];

impl Architecture for Mpt {
    fn name(&self) -> &'static str {
        "mpt"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["mpt"]
    }

    fn title(&self) -> &'static str {
        "MPT"
    }

    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()> {
        let norms = ["layernorm", "low_precision_layernorm"].map(Value::from);
        config.only("norm_type", &norms)?;
        config.only("ffn_config.ffn_type", &["mptmlp".into()])?;
        config.only("attn_config.prefix_lm", &[false.into()])?;
        config.only("attn_config.rope", &[false.into()])?;
        config.only("attn_config.fused_qkv", &[true.into()])?;
        config.only("attn_config.sliding_window_size", &[(-1).into()])?;
        config.translate(self.name(), CONFIG, metadata)?;

        let key = |suffix: &str| keys::arch(self.name(), suffix);
        let n_embd = config.needed_count("d_model|hidden_size")?;
        metadata.set(key(keys::FEED_FORWARD_LENGTH), n_ff(config, n_embd)?);
        if let Some(n_head_kv) = n_head_kv(config)? {
            metadata.set(key(keys::HEAD_COUNT_KV), n_head_kv);
        }
        let alibi_max = match config.flag("attn_config.alibi")? {
            Some(false) => 0.0,
            _ => config.float("attn_config.alibi_bias_max")?.unwrap_or(8.0),
        };
        metadata.set(key(keys::MAX_ALIBI_BIAS), alibi_max);
        match config.get("logit_scale") {
            None => {}
            Some(Value::String(text)) if text == "inv_sqrt_d_model" => {
                metadata.set(key(keys::LOGIT_SCALE), 1.0 / (n_embd as f32).sqrt());
            }
            Some(_) => {
                if let Some(scale) = config.float("logit_scale")? {
                    metadata.set(key(keys::LOGIT_SCALE), scale);
                }
            }
        }
        Ok(())
    }

    fn describe(
        &self,
        hp: &Hparams,
        tensors: &TensorIndex,
        description: &mut Description<'_>,
    ) -> Result<()> {
        description.model("mpt", "MPTForCausalLM");
        description.retell(self.name(), CONFIG)?;
        match expansion_ratio(hp) {
            Some(ratio) => description.set("expansion_ratio", ratio),
            None => {
                description.set("ffn_config.ffn_type", "mptmlp");
                description.set("ffn_config.ffn_hidden_size", hp.n_ff);
            }
        }
        let has = |name: &str| tensors.find(name).is_some();
        description
            .set("no_bias", !tensors.infos().iter().any(|info| info.name.ends_with(".bias")));
        description.set("norm_type", "low_precision_layernorm");
        description.set("learned_pos_emb", has("position_embd.weight"));
        description.set("logit_scale", hp.logit_scale.map(decimal));
        // Transformers takes whole numbers only.
        let alibi_max = hp.alibi_max.map(|max| match max.fract() {
            0.0 => Value::from(max as u32),
            _ => decimal(max),
        });
        description.set("attn_config.alibi", alibi_max.is_some());
        if let Some(alibi_max) = alibi_max {
            description.set("attn_config.alibi_bias_max", alibi_max);
        }
        // A limit of zero is none.
        description.set("attn_config.clip_qkv", hp.clamp_kqv.map(decimal));
        description.set("attn_config.qk_ln", has("blk.0.attn_q_norm.weight"));
        description.set("attn_config.prefix_lm", false);
        let attn_type = match hp.n_head_kv {
            n_head_kv if n_head_kv == hp.n_head => "multihead_attention",
            1 => "multiquery_attention",
            n_head_kv => {
                description.set("attn_config.kv_n_heads", n_head_kv);
                "grouped_query_attention"
            }
        };
        description.set("attn_config.attn_type", attn_type);
        Ok(())
    }

    fn weights(&self) -> &'static [WeightRule] {
        WEIGHTS
    }

    fn ggml_headers(&self) -> &'static [HeaderLayout] {
        GGML
    }

    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g> {
        let attention = hp.attention();
        let mut x = graph.tokens().embed("token_embd");
        if graph.has("position_embd") {
            x = x + graph.positions().embed("position_embd");
        }
        for il in 0..hp.n_layer {
            let blk = |part: &str| format!("blk.{il}.{part}");
            let h = x.layer_norm(&blk("attn_norm"), hp.norm_eps);
            let mut qkv = h.linear(&blk("attn_qkv"));
            if let Some(limit) = hp.clamp_kqv {
                qkv = qkv.clamp(limit);
            }
            let [mut q, mut k, v] = qkv.split([hp.n_embd_q(), hp.n_embd_kv(), hp.n_embd_kv()]);
            if graph.has(&blk("attn_q_norm")) {
                q = q.layer_norm(&blk("attn_q_norm"), hp.norm_eps);
                k = k.layer_norm(&blk("attn_k_norm"), hp.norm_eps);
            }
            x = x + q.attend(k, v, attention).linear(&blk("attn_output"));
            let h = x.layer_norm(&blk("ffn_norm"), hp.norm_eps);
            x = x + h.linear(&blk("ffn_up")).gelu(Gelu::Exact).linear(&blk("ffn_down"));
        }
        let head = if graph.has("output") { "output" } else { "token_embd" };
        let logits = x.layer_norm("output_norm", hp.norm_eps).linear(head);
        hp.logit_scale.map_or(logits, |factor| logits.scale(factor))
    }
}

fn n_ff(config: &Config<'_>, n_embd: u32) -> Result<u32> {
    if let Some(n_ff) = config.count("ffn_config.ffn_hidden_size")? {
        return Ok(n_ff);
    }
    let ratio = config.double("expansion_ratio")?.unwrap_or(4.0);
    Ok((f64::from(n_embd) * ratio) as u32)
}

/// The ratio of the two widths, if their product, of which the fraction is dropped, is the width again.
fn expansion_ratio(hp: &Hparams) -> Option<Value> {
    if hp.n_ff.is_multiple_of(hp.n_embd) {
        return Some((hp.n_ff / hp.n_embd).into());
    }
    let ratio = hp.n_ff as f64 / hp.n_embd as f64;
    ((hp.n_embd as f64 * ratio) as usize == hp.n_ff).then(|| ratio.into())
}

/// The number of key and value heads, where it is not that of the query heads.
fn n_head_kv(config: &Config<'_>) -> Result<Option<u32>> {
    match config.text("attn_config.attn_type")?.unwrap_or("multihead_attention") {
        "multihead_attention" => Ok(None),
        "multiquery_attention" => Ok(Some(1)),
        "grouped_query_attention" => config.needed_count("attn_config.kv_n_heads").map(Some),
        other => {
            let cure = "supported: multihead, multiquery and grouped_query attention";
            Err(config.unsupported("attn_config.attn_type", &other.into(), cure))
        }
    }
}
