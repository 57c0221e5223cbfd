//! GPT-2, as its publisher lays it out.

use super::{Options, Shapes, add};
use crate::tokenizer::N_VOCAB;

pub(super) fn model(o: &Options) -> (String, Shapes) {
    let config = format!(
        r#""architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
  "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "tie_word_embeddings": {},
  "n_positions": {}, "n_embd": {}, "n_layer": {}, "n_head": {}, "n_inner": {}"#,
        o.tied, o.n_ctx, o.n_embd, o.n_layer, o.n_head, o.n_ff
    );
    let mut shapes = Shapes::new();
    add(&mut shapes, "transformer.wte", &[N_VOCAB, o.n_embd], false);
    add(&mut shapes, "transformer.wpe", &[o.n_ctx, o.n_embd], false);
    for il in 0..o.n_layer {
        let h = format!("transformer.h.{il}");
        add(&mut shapes, format!("{h}.ln_1"), &[o.n_embd], true);
        convolution(&mut shapes, format!("{h}.attn.c_attn"), o.n_embd, 3 * o.n_embd);
        convolution(&mut shapes, format!("{h}.attn.c_proj"), o.n_embd, o.n_embd);
        add(&mut shapes, format!("{h}.ln_2"), &[o.n_embd], true);
        convolution(&mut shapes, format!("{h}.mlp.c_fc"), o.n_embd, o.n_ff);
        convolution(&mut shapes, format!("{h}.mlp.c_proj"), o.n_ff, o.n_embd);
    }
    add(&mut shapes, "transformer.ln_f", &[o.n_embd], true);
    if !o.tied {
        add(&mut shapes, "lm_head", &[N_VOCAB, o.n_embd], false);
    }
    (config, shapes)
}

/// A matrix `[n_in, n_out]`, which is how a convolution of width one is stored, with its bias.
fn convolution(shapes: &mut Shapes, name: String, n_in: usize, n_out: usize) {
    shapes.push((format!("{name}.weight"), vec![n_in, n_out]));
    shapes.push((format!("{name}.bias"), vec![n_out]));
}
