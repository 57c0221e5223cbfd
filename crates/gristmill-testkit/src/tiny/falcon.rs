//! Falcon, as its publisher lays it out.

use super::{Options, Shapes, add};
use crate::tokenizer::N_VOCAB;

/// The small model's block, whose query heads share one key head; the large model's, if there are fewer key heads than
/// query heads.
pub(super) fn model(o: &Options) -> (String, Shapes) {
    let large = o.n_head_kv < o.n_head;
    let n_head_kv = if large { o.n_head_kv } else { 1 };
    let n_qkv = o.n_embd + o.n_embd / o.n_head * n_head_kv * 2;
    let config = format!(
        r#""architectures": ["FalconForCausalLM"], "model_type": "falcon", "alibi": false, "bias": false,
  "layer_norm_epsilon": 1e-05, "parallel_attn": true, "multi_query": true,
  "new_decoder_architecture": {large}, "num_kv_heads": {n_head_kv}, "tie_word_embeddings": {},
  "max_position_embeddings": {}, "hidden_size": {}, "num_hidden_layers": {}, "num_attention_heads": {},
  "ffn_hidden_size": {}"#,
        o.tied, o.n_ctx, o.n_embd, o.n_layer, o.n_head, o.n_ff
    );
    let norms: &[&str] = if large { &["ln_attn", "ln_mlp"] } else { &["input_layernorm"] };
    let mut shapes = Shapes::new();
    add(&mut shapes, "transformer.word_embeddings", &[N_VOCAB, o.n_embd], false);
    for il in 0..o.n_layer {
        let h = format!("transformer.h.{il}");
        for norm in norms {
            add(&mut shapes, format!("{h}.{norm}"), &[o.n_embd], true);
        }
        for (part, n_out, n_in) in [
            ("self_attention.query_key_value", n_qkv, o.n_embd),
            ("self_attention.dense", o.n_embd, o.n_embd),
            ("mlp.dense_h_to_4h", o.n_ff, o.n_embd),
            ("mlp.dense_4h_to_h", o.n_embd, o.n_ff),
        ] {
            add(&mut shapes, format!("{h}.{part}"), &[n_out, n_in], false);
        }
    }
    add(&mut shapes, "transformer.ln_f", &[o.n_embd], true);
    if !o.tied {
        add(&mut shapes, "lm_head", &[N_VOCAB, o.n_embd], false);
    }
    (config, shapes)
}
