//! LLaMA, as its publisher lays it out.

use super::{Options, Shapes, add};
use crate::tokenizer::N_VOCAB;

pub(super) fn model(o: &Options) -> (String, Shapes) {
    let n_embd_kv = o.n_embd / o.n_head * o.n_head_kv;
    let config = format!(
        r#""architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "rms_norm_eps": 1e-05, "tie_word_embeddings": {tied}, "attention_bias": {biases}, "mlp_bias": {biases},
  "rope_theta": 10000.0, "max_position_embeddings": {}, "hidden_size": {}, "num_hidden_layers": {},
  "num_attention_heads": {}, "num_key_value_heads": {}, "intermediate_size": {}"#,
        o.n_ctx,
        o.n_embd,
        o.n_layer,
        o.n_head,
        o.n_head_kv,
        o.n_ff,
        tied = o.tied,
        biases = o.biases
    );
    let mut shapes = Shapes::new();
    add(&mut shapes, "model.embed_tokens", &[N_VOCAB, o.n_embd], false);
    for il in 0..o.n_layer {
        let layer = format!("model.layers.{il}");
        add(&mut shapes, format!("{layer}.input_layernorm"), &[o.n_embd], false);
        for (part, n_out, n_in) in [
            ("self_attn.q_proj", o.n_embd, o.n_embd),
            ("self_attn.k_proj", n_embd_kv, o.n_embd),
            ("self_attn.v_proj", n_embd_kv, o.n_embd),
            ("self_attn.o_proj", o.n_embd, o.n_embd),
            ("mlp.gate_proj", o.n_ff, o.n_embd),
            ("mlp.up_proj", o.n_ff, o.n_embd),
            ("mlp.down_proj", o.n_embd, o.n_ff),
        ] {
            add(&mut shapes, format!("{layer}.{part}"), &[n_out, n_in], o.biases);
        }
        add(&mut shapes, format!("{layer}.post_attention_layernorm"), &[o.n_embd], false);
    }
    add(&mut shapes, "model.norm", &[o.n_embd], false);
    if !o.tied {
        add(&mut shapes, "lm_head", &[N_VOCAB, o.n_embd], false);
    }
    (config, shapes)
}
