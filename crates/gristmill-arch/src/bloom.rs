//! BLOOM (BigScience, 2022, "BLOOM: A 176B-Parameter Open-Access Multilingual Language Model"), and BLOOMZ.
//!
//! The embedding is normalized; then a block is attention and a feed-forward layer, each behind its own layer
//! normalization:
//!
//! ```text
//! x ← LayerNorm(embedding)
//! x ← x + W_o Attention(q, k, v) + b_o          q, k, v = W_qkv LayerNorm(x) + b_qkv
//! x ← x + W_down gelu(W_up LayerNorm(x) + b_up) + b_down
//! ```
//!
//! Positions are biases on the scores (ALiBi, Press et al., 2021) with slopes down to `2^-8`, which no file says.
//! Every layer has a bias, but for the head, which is tied to the embedding. GELU is the tanh form. Hugging Face
//! stores queries, keys and values head by head; legacy ggml files have names after LLaMA's, and all queries first.

use gristmill_graph::{Attention, Gelu, Graph, Var};
use gristmill_tensor::HeaderField::{Count, FileType, NVocab, OneOf};
use gristmill_tensor::{Container, HeaderLayout, Metadata, TensorIndex, Unsaid, Vocabulary, keys};

use crate::weights::weights;
use crate::{Architecture, Config, ConfigKey, Description, Hparams, Result, WeightRule};

/// BLOOM; see the module.
pub(crate) struct Bloom;

const CONFIG: &[ConfigKey] = &[
    ConfigKey::count("vocab_size", keys::VOCAB_SIZE).optional(),
    ConfigKey::count("seq_length", keys::CONTEXT_LENGTH).or(2048.0),
    ConfigKey::count(WIDTH, keys::EMBEDDING_LENGTH),
    ConfigKey::count("n_layer|num_hidden_layers", keys::BLOCK_COUNT),
    ConfigKey::count("n_head|num_attention_heads", keys::HEAD_COUNT),
    ConfigKey::float("layer_norm_epsilon", keys::LAYER_NORM_EPS).or(1e-5),
];

const WIDTH: &str = "hidden_size|n_embed";

const WEIGHTS: &[WeightRule] = weights! {
    // role    house name (GGUF)            Hugging Face                                                            legacy ggml
    Embedding "token_embd.weight"         = hf "transformer.word_embeddings.weight",                                ggml "tok_embeddings.weight";
    Norm      "token_embd_norm.weight"    = hf "transformer.word_embeddings_layernorm.weight",                      ggml "norm.weight";
    Bias      "token_embd_norm.bias"      = hf "transformer.word_embeddings_layernorm.bias",                        ggml "norm.bias";
    Norm      "output_norm.weight"        = hf "transformer.ln_f.weight",                                           ggml "output_norm.weight";
    Bias      "output_norm.bias"          = hf "transformer.ln_f.bias",                                             ggml "output_norm.bias";
    Output    "output.weight" [optional]  = hf "lm_head.weight",                                                    ggml "output.weight";
    Norm      "blk.{}.attn_norm.weight"   = hf "transformer.h.{}.input_layernorm.weight",                           ggml "layers.{}.attention_norm.weight";
    Bias      "blk.{}.attn_norm.bias"     = hf "transformer.h.{}.input_layernorm.bias",                             ggml "layers.{}.attention_norm.bias";
    Linear    "blk.{}.attn_qkv.weight"    = hf "transformer.h.{}.self_attention.query_key_value.weight" @ GroupedQkv, ggml "layers.{}.attention.query_key_value.weight";
    Bias      "blk.{}.attn_qkv.bias"      = hf "transformer.h.{}.self_attention.query_key_value.bias" @ GroupedQkv, ggml "layers.{}.attention.query_key_value.bias";
    Linear    "blk.{}.attn_output.weight" = hf "transformer.h.{}.self_attention.dense.weight",                      ggml "layers.{}.attention.wo.weight";
    Bias      "blk.{}.attn_output.bias"   = hf "transformer.h.{}.self_attention.dense.bias",                        ggml "layers.{}.attention.wo.bias";
    Norm      "blk.{}.ffn_norm.weight"    = hf "transformer.h.{}.post_attention_layernorm.weight",                  ggml "layers.{}.ffn_norm.weight";
    Bias      "blk.{}.ffn_norm.bias"      = hf "transformer.h.{}.post_attention_layernorm.bias",                    ggml "layers.{}.ffn_norm.bias";
    Linear    "blk.{}.ffn_up.weight"      = hf "transformer.h.{}.mlp.dense_h_to_4h.weight",                         ggml "layers.{}.feed_forward.w1.weight";
    Bias      "blk.{}.ffn_up.bias"        = hf "transformer.h.{}.mlp.dense_h_to_4h.bias",                           ggml "layers.{}.feed_forward.w1.bias";
    Linear    "blk.{}.ffn_down.weight"    = hf "transformer.h.{}.mlp.dense_4h_to_h.weight",                         ggml "layers.{}.feed_forward.w2.weight";
    Bias      "blk.{}.ffn_down.bias"      = hf "transformer.h.{}.mlp.dense_4h_to_h.bias",                           ggml "layers.{}.feed_forward.w2.bias";
};

const GGML: &[HeaderLayout] = &[HeaderLayout {
    architecture: "bloom",
    producer: "bloomz.cpp, llm-rs",
    containers: &[Container::Ggml, Container::Ggjt],
    fields: &[
        NVocab,
        Count(keys::EMBEDDING_LENGTH),
        // LLaMA's `n_mult`, without use here.
        OneOf(&[1]),
        Count(keys::HEAD_COUNT),
        Count(keys::BLOCK_COUNT),
        FileType,
    ],
    vocabulary: Vocabulary::Bytes,
    aligned: true,
    uncounted: 0,
    unsaid: &[
        (keys::CONTEXT_LENGTH, Unsaid::Count(2048)),
        (keys::LAYER_NORM_EPS, Unsaid::Float(1e-5)),
    ],
}];

impl Architecture for Bloom {
    fn name(&self) -> &'static str {
        "bloom"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["bloom"]
    }

    fn title(&self) -> &'static str {
        "BLOOM, BLOOMZ"
    }

    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()> {
        config.only("apply_residual_connection_post_layernorm", &[false.into()])?;
        config.translate(self.name(), CONFIG, metadata)?;
        let n_ff = config.needed_count(WIDTH)?.saturating_mul(4);
        metadata.set(keys::arch(self.name(), keys::FEED_FORWARD_LENGTH), n_ff);
        Ok(())
    }

    fn describe(
        &self,
        _hp: &Hparams,
        _tensors: &TensorIndex,
        description: &mut Description<'_>,
    ) -> Result<()> {
        description.model("bloom", "BloomForCausalLM");
        description.retell(self.name(), CONFIG)
    }

    fn weights(&self) -> &'static [WeightRule] {
        WEIGHTS
    }

    fn ggml_headers(&self) -> &'static [HeaderLayout] {
        GGML
    }

    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g> {
        let attention = Attention { alibi_max: Some(8.0), ..hp.attention() };
        let x = graph.tokens().embed("token_embd");
        let mut x = x.layer_norm("token_embd_norm", hp.norm_eps);
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
