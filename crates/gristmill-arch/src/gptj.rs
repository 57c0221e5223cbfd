//! GPT-J (Wang & Komatsuzaki, 2021; EleutherAI's `gpt-j-6b` and what was tuned from it).
//!
//! One normalization feeds both branches of a block, and both are added to the residual together:
//!
//! ```text
//! h = LayerNorm(x)
//! x ← x + Attention(h) + MLP(h)          MLP(h) = W_out gelu(W_in h + b_in) + b_out
//! ```
//!
//! Positions are rotary (Su et al., 2021) over the first `n_rot` dimensions of each head, in neighbouring pairs. The
//! projections of attention have no biases; everything else has, the head included, which is not tied to the
//! embedding. GELU is the tanh form. Legacy ggml files keep Hugging Face's names.

use gristmill_graph::{Gelu, Graph, RopeStyle, Var};
use gristmill_tensor::HeaderField::{Count, FileType, NVocab, NVocabAgain};
use gristmill_tensor::{Container, HeaderLayout, Metadata, TensorIndex, Unsaid, Vocabulary, keys};

use crate::weights::weights;
use crate::{Architecture, Config, ConfigKey, Description, Hparams, Result, WeightRule};

/// GPT-J; see the module.
pub(crate) struct GptJ;

const CONFIG: &[ConfigKey] = &[
    ConfigKey::count("vocab_size", keys::VOCAB_SIZE).optional(),
    ConfigKey::count("n_positions|n_ctx", keys::CONTEXT_LENGTH).or(2048.0),
    ConfigKey::count("n_embd", keys::EMBEDDING_LENGTH),
    ConfigKey::count("n_layer", keys::BLOCK_COUNT),
    ConfigKey::count("n_head", keys::HEAD_COUNT),
    ConfigKey::count("rotary_dim", keys::ROPE_DIMENSION_COUNT),
    ConfigKey::float("layer_norm_epsilon", keys::LAYER_NORM_EPS).or(1e-5),
];

const WEIGHTS: &[WeightRule] = weights! {
    // role    house name (GGUF)              Hugging Face, legacy ggml
    Embedding "token_embd.weight"           = hf "transformer.wte.weight";
    Norm      "output_norm.weight"          = hf "transformer.ln_f.weight";
    Bias      "output_norm.bias"            = hf "transformer.ln_f.bias";
    Output    "output.weight"               = hf "lm_head.weight";
    Bias      "output.bias"                 = hf "lm_head.bias";
    Norm      "blk.{}.attn_norm.weight"     = hf "transformer.h.{}.ln_1.weight";
    Bias      "blk.{}.attn_norm.bias"       = hf "transformer.h.{}.ln_1.bias";
    Linear    "blk.{}.attn_q.weight"        = hf "transformer.h.{}.attn.q_proj.weight";
    Linear    "blk.{}.attn_k.weight"        = hf "transformer.h.{}.attn.k_proj.weight";
    Linear    "blk.{}.attn_v.weight"        = hf "transformer.h.{}.attn.v_proj.weight";
    Linear    "blk.{}.attn_output.weight"   = hf "transformer.h.{}.attn.out_proj.weight";
    Linear    "blk.{}.ffn_up.weight"        = hf "transformer.h.{}.mlp.fc_in.weight";
    Bias      "blk.{}.ffn_up.bias"          = hf "transformer.h.{}.mlp.fc_in.bias";
    Linear    "blk.{}.ffn_down.weight"      = hf "transformer.h.{}.mlp.fc_out.weight";
    Bias      "blk.{}.ffn_down.bias"        = hf "transformer.h.{}.mlp.fc_out.bias";
};

const GGML: &[HeaderLayout] = &[HeaderLayout {
    architecture: "gptj",
    producer: "ggml's examples, GPT4All, ctransformers, llm-rs",
    containers: &[Container::Ggml, Container::Ggjt],
    fields: &[
        NVocab,
        Count(keys::CONTEXT_LENGTH),
        Count(keys::EMBEDDING_LENGTH),
        Count(keys::HEAD_COUNT),
        Count(keys::BLOCK_COUNT),
        Count(keys::ROPE_DIMENSION_COUNT),
        FileType,
        NVocabAgain,
    ],
    vocabulary: Vocabulary::Bytes,
    aligned: true,
    uncounted: 0,
    unsaid: &[(keys::LAYER_NORM_EPS, Unsaid::Float(1e-5))],
}];

impl Architecture for GptJ {
    fn name(&self) -> &'static str {
        "gptj"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["gptj"]
    }

    fn title(&self) -> &'static str {
        "GPT-J"
    }

    fn configure(&self, config: &Config<'_>, metadata: &mut Metadata) -> Result<()> {
        // Three names of one function.
        let gelu = ["gelu_new", "gelu_fast", "gelu_pytorch_tanh"].map(Into::into);
        config.only("activation_function", &gelu)?;
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
        description.model("gptj", "GPTJForCausalLM");
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
        &["attn.bias", "attn.masked_bias", "attn.embed_positions"]
    }

    fn graph<'g>(&self, hp: &Hparams, graph: &'g Graph) -> Var<'g> {
        let rope = hp.rope(RopeStyle::Interleaved);
        let attention = hp.attention();
        let mut x = graph.tokens().embed("token_embd");
        for il in 0..hp.n_layer {
            let blk = |part: &str| format!("blk.{il}.{part}");
            let h = x.layer_norm(&blk("attn_norm"), hp.norm_eps);
            let q = h.linear(&blk("attn_q")).rope(&rope);
            let k = h.linear(&blk("attn_k")).rope(&rope);
            let v = h.linear(&blk("attn_v"));
            let attn = q.attend(k, v, attention).linear(&blk("attn_output"));
            let mlp = h.linear(&blk("ffn_up")).gelu(Gelu::Tanh).linear(&blk("ffn_down"));
            x = x + attn + mlp;
        }
        x.layer_norm("output_norm", hp.norm_eps).linear("output")
    }
}
