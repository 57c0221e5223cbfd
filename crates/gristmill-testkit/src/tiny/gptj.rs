//! GPT-J, as its publisher lays it out.

use super::{Options, Shapes, add};
use crate::tokenizer::N_VOCAB;

pub(super) fn model(o: &Options) -> (String, Shapes) {
    let n_rot = (o.n_embd / o.n_head).min(4);
    let config = format!(
        r#""architectures": ["GPTJForCausalLM"], "model_type": "gptj",
  "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "tie_word_embeddings": false,
  "n_positions": {}, "n_embd": {}, "n_layer": {}, "n_head": {}, "n_inner": {}, "rotary_dim": {n_rot}"#,
        o.n_ctx, o.n_embd, o.n_layer, o.n_head, o.n_ff
    );
    let mut shapes = Shapes::new();
    add(&mut shapes, "transformer.wte", &[N_VOCAB, o.n_embd], false);
    for il in 0..o.n_layer {
        let h = format!("transformer.h.{il}");
        add(&mut shapes, format!("{h}.ln_1"), &[o.n_embd], true);
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            add(&mut shapes, format!("{h}.attn.{part}"), &[o.n_embd, o.n_embd], false);
        }
        add(&mut shapes, format!("{h}.mlp.fc_in"), &[o.n_ff, o.n_embd], true);
        add(&mut shapes, format!("{h}.mlp.fc_out"), &[o.n_embd, o.n_ff], true);
    }
    add(&mut shapes, "transformer.ln_f", &[o.n_embd], true);
    add(&mut shapes, "lm_head", &[N_VOCAB, o.n_embd], true);
    (config, shapes)
}
