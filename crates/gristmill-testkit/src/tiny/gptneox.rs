//! GPT-NeoX, as its publisher lays it out.

use super::{Options, Shapes, add};
use crate::tokenizer::N_VOCAB;

pub(super) fn model(o: &Options) -> (String, Shapes) {
    let config = format!(
        r#""architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "hidden_act": "gelu",
  "layer_norm_eps": 1e-05, "tie_word_embeddings": false, "use_parallel_residual": true,
  "rotary_pct": 0.5, "rotary_emb_base": 10000, "max_position_embeddings": {}, "hidden_size": {},
  "num_hidden_layers": {}, "num_attention_heads": {}, "intermediate_size": {}"#,
        o.n_ctx, o.n_embd, o.n_layer, o.n_head, o.n_ff
    );
    let mut shapes = Shapes::new();
    add(&mut shapes, "gpt_neox.embed_in", &[N_VOCAB, o.n_embd], false);
    for il in 0..o.n_layer {
        let layer = format!("gpt_neox.layers.{il}");
        for (part, shape) in [
            ("input_layernorm", &[o.n_embd][..]),
            ("post_attention_layernorm", &[o.n_embd]),
            ("attention.query_key_value", &[3 * o.n_embd, o.n_embd]),
            ("attention.dense", &[o.n_embd, o.n_embd]),
            ("mlp.dense_h_to_4h", &[o.n_ff, o.n_embd]),
            ("mlp.dense_4h_to_h", &[o.n_embd, o.n_ff]),
        ] {
            add(&mut shapes, format!("{layer}.{part}"), shape, true);
        }
    }
    add(&mut shapes, "gpt_neox.final_layer_norm", &[o.n_embd], true);
    add(&mut shapes, "embed_out", &[N_VOCAB, o.n_embd], false);
    (config, shapes)
}
