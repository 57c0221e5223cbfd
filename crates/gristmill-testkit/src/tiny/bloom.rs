//! BLOOM, as its publisher lays it out.

use super::{Options, Shapes, add};
use crate::tokenizer::N_VOCAB;

pub(super) fn model(o: &Options) -> (String, Shapes) {
    // The feed-forward layer is always four times as wide.
    let n_ff = 4 * o.n_embd;
    let config = format!(
        r#""architectures": ["BloomForCausalLM"], "model_type": "bloom",
  "layer_norm_epsilon": 1e-05, "tie_word_embeddings": true,
  "apply_residual_connection_post_layernorm": false, "seq_length": {}, "hidden_size": {},
  "n_layer": {}, "n_head": {}"#,
        o.n_ctx, o.n_embd, o.n_layer, o.n_head
    );
    let mut shapes = Shapes::new();
    add(&mut shapes, "transformer.word_embeddings", &[N_VOCAB, o.n_embd], false);
    add(&mut shapes, "transformer.word_embeddings_layernorm", &[o.n_embd], true);
    for il in 0..o.n_layer {
        let h = format!("transformer.h.{il}");
        for (part, shape) in [
            ("input_layernorm", &[o.n_embd][..]),
            ("self_attention.query_key_value", &[3 * o.n_embd, o.n_embd]),
            ("self_attention.dense", &[o.n_embd, o.n_embd]),
            ("post_attention_layernorm", &[o.n_embd]),
            ("mlp.dense_h_to_4h", &[n_ff, o.n_embd]),
            ("mlp.dense_4h_to_h", &[o.n_embd, n_ff]),
        ] {
            add(&mut shapes, format!("{h}.{part}"), shape, true);
        }
    }
    add(&mut shapes, "transformer.ln_f", &[o.n_embd], true);
    (config, shapes)
}
