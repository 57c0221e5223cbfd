//! GPT-2 (Radford et al., 2019, "Language Models are Unsupervised Multitask Learners"), and Cerebras-GPT.
//!
//! A block is attention and a feed-forward layer, each behind its own layer normalization:
//!
//! ```text
//! x ← x + W_o Attention(q, k, v) + b_o          q, k, v = W_qkv LayerNorm(x) + b_qkv
//! x ← x + W_down gelu(W_up LayerNorm(x) + b_up) + b_down
//! ```
//!
//! Positions are a learned table that is added to the embedding. Every layer has a bias, but for the head, which is
//! tied to the embedding in all published models. Hugging Face stores the matrices of the blocks transposed, since
//! OpenAI's code computed them as convolutions; legacy ggml files keep the names of OpenAI's release.

use gristmill_graph::{Gelu, Graph, Var};
use gristmill_tensor::HeaderField::{Count, FileType, NVocab, NVocabAgain};
use gristmill_tensor::{Container, HeaderLayout, Metadata, TensorIndex, Unsaid, Vocabulary, keys};

use crate::config::accept_any_gelu;
use crate::weights::weights;
use crate::{Architecture, Config, ConfigKey, Description, Hparams, Result, WeightRule};

/// GPT-2; see the module.
pub(crate) struct Gpt2;

const CONFIG: &[ConfigKey] = &[
    ConfigKey::count("vocab_size", keys::VOCAB_SIZE).optional(),
    ConfigKey::count("n_positions|n_ctx", keys::CONTEXT_LENGTH).or(1024.0),
    ConfigKey::count("n_embd", keys::EMBEDDING_LENGTH),
    ConfigKey::count("n_layer", keys::BLOCK_COUNT),
    ConfigKey::count("n_head", keys::HEAD_COUNT),
    ConfigKey::float("layer_norm_epsilon", keys::LAYER_NORM_EPS).or(1e-5),
];

const WEIGHTS: &[WeightRule] = weights! {
    // role    house name (GGUF)            Hugging Face                                          OpenAI, legacy ggml
    Embedding "token_embd.weight"         = hf "transformer.wte.weight",                          ggml "model/wte";
    Position  "position_embd.weight"      = hf "transformer.wpe.weight",                          ggml "model/wpe";
    Norm      "output_norm.weight"        = hf "transformer.ln_f.weight",                         ggml "model/ln_f/g";
    Bias      "output_norm.bias"          = hf "transformer.ln_f.bias",                           ggml "model/ln_f/b";
    Output    "output.weight" [optional]  = hf "lm_head.weight",                                  ggml "model/lm_head";
    Norm      "blk.{}.attn_norm.weight"   = hf "transformer.h.{}.ln_1.weight",                    ggml "model/h{}/ln_1/g";
    Bias      "blk.{}.attn_norm.bias"     = hf "transformer.h.{}.ln_1.bias",                      ggml "model/h{}/ln_1/b";
    Linear    "blk.{}.attn_qkv.weight"    = hf "transformer.h.{}.attn.c_attn.weight" @ Transpose, ggml "model/h{}/attn/c_attn/w";
    Bias      "blk.{}.attn_qkv.bias"      = hf "transformer.h.{}.attn.c_attn.bias",               ggml "model/h{}/attn/c_attn/b";
    Linear    "blk.{}.attn_output.weight" = hf "transformer.h.{}.attn.c_proj.weight" @ Transpose, ggml "model/h{}/attn/c_proj/w";
    Bias      "blk.{}.attn_output.bias"   = hf "transformer.h.{}.attn.c_proj.bias",               ggml "model/h{}/attn/c_proj/b";
    Norm      "blk.{}.ffn_norm.weight"    = hf "transformer.h.{}.ln_2.weight",                    ggml "model/h{}/ln_2/g";
    Bias      "blk.{}.ffn_norm.bias"      = hf "transformer.h.{}.ln_2.bias",                      ggml "model/h{}/ln_2/b";
    Linear    "blk.{}.ffn_up.weight"      = hf "transformer.h.{}.mlp.c_fc.weight" @ Transpose,    ggml "model/h{}/mlp/c_fc/w";
    Bias      "blk.{}.ffn_up.bias"        = hf "transformer.h.{}.mlp.c_fc.bias",                  ggml "model/h{}/mlp/c_fc/b";
    Linear    "blk.{}.ffn_down.weight"    = hf "transformer.h.{}.mlp.c_proj.weight" @ Transpose,  ggml "model/h{}/mlp/c_proj/w";
    Bias      "blk.{}.ffn_down.bias"      = hf "transformer.h.{}.mlp.c_proj.bias",                ggml "model/h{}/mlp/c_proj/b";
};

const GGML: &[HeaderLayout] = &[HeaderLayout {
    architecture: "gpt2",
    producer: "ggml's examples, ctransformers, llm-rs",
    containers: &[Container::Ggml, Container::Ggjt],
    fields: &[
        NVocab,
        Count(keys::CONTEXT_LENGTH),
        Count(keys::EMBEDDING_LENGTH),
        Count(keys::HEAD_COUNT),
        Count(keys::BLOCK_COUNT),
        FileType,
        NVocabAgain,
    ],
    vocabulary: Vocabulary::Bytes,
    aligned: true,
    uncounted: 0,
    unsaid: &[(keys::LAYER_NORM_EPS, Unsaid::Float(1e-5))],
}];

impl Architecture for Gpt2 {
    fn name(&self) -> &'static str {
        "gpt2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["gpt2"]
    }

    fn title(&self) -> &'static str {
        "GPT-2, Cerebras-GPT"
    }

    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()> {
        accept_any_gelu(config, "activation_function")?;
        config.only("scale_attn_weights", &[true.into()])?;
        config.only("scale_attn_by_inverse_layer_idx", &[false.into()])?;
        config.only("add_cross_attention", &[false.into()])?;
        config.translate(self.name(), CONFIG, metadata)?;
        let n_ff = match config.count("n_inner")? {
            Some(n_ff) => n_ff,
            None => config.needed_count("n_embd")?.saturating_mul(4),
        };
        metadata.set(keys::arch(self.name(), keys::FEED_FORWARD_LENGTH), n_ff);
        Ok(())
    }

    fn describe(
        &self,
        hp: &Hparams,
        _tensors: &TensorIndex,
        description: &mut Description<'_>,
    ) -> Result<()> {
        description.model("gpt2", "GPT2LMHeadModel");
        description.retell(self.name(), CONFIG)?;
        description.set("n_inner", hp.n_ff);
        description.set("activation_function", "gelu_new");
        Ok(())
    }

    fn weights(&self) -> &'static [WeightRule] {
        WEIGHTS
    }

    fn ggml_headers(&self) -> &'static [HeaderLayout] {
        GGML
    }

    fn ignored(&self) -> &'static [&'static str] {
        &["attn.bias", "attn.masked_bias"]
    }

    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g> {
        let attention = hp.attention();
        let mut x = graph.tokens().embed("token_embd");
        x = x + graph.positions().embed("position_embd");
        for il in 0..hp.n_layer {
            let blk = |part: &str| format!("blk.{il}.{part}");
            let qkv = x.layer_norm(&blk("attn_norm"), hp.norm_eps).linear(&blk("attn_qkv"));
            let [q, k, v] = qkv.split([hp.n_embd_q(), hp.n_embd_kv(), hp.n_embd_kv()]);
            x = x + q.attend(k, v, attention).linear(&blk("attn_output"));
            let h = x.layer_norm(&blk("ffn_norm"), hp.norm_eps);
            x = x + h.linear(&blk("ffn_up")).gelu(Gelu::Tanh).linear(&blk("ffn_down"));
        }
        // A model without a head of its own uses the embedding.
        let head = if graph.has("output") { "output" } else { "token_embd" };
        x.layer_norm("output_norm", hp.norm_eps).linear(head)
    }
}
