//! MPT, as its publisher lays it out.

use super::{Options, Shapes, add};
use crate::tokenizer::N_VOCAB;

pub(super) fn model(o: &Options) -> (String, Shapes) {
    let n_embd_kv = o.n_embd / o.n_head * o.n_head_kv;
    let attn_type =
        if o.n_head_kv == o.n_head { "multihead_attention" } else { "grouped_query_attention" };
    let config = format!(
        r#""architectures": ["MPTForCausalLM"], "model_type": "mpt", "no_bias": {}, "logit_scale": null,
  "norm_type": "low_precision_layernorm", "learned_pos_emb": true, "tie_word_embeddings": true,
  "attn_config": {{ "alibi": true, "alibi_bias_max": 8, "attn_type": "{attn_type}", "kv_n_heads": {},
    "clip_qkv": 4.0, "prefix_lm": false, "qk_ln": false, "softmax_scale": null }},
  "max_seq_len": {}, "d_model": {}, "n_layers": {}, "n_heads": {}, "expansion_ratio": {}"#,
        !o.biases,
        o.n_head_kv,
        o.n_ctx,
        o.n_embd,
        o.n_layer,
        o.n_head,
        o.n_ff as f64 / o.n_embd as f64
    );
    let mut shapes = Shapes::new();
    add(&mut shapes, "transformer.wte", &[N_VOCAB, o.n_embd], false);
    for il in 0..o.n_layer {
        let block = format!("transformer.blocks.{il}");
        for (part, shape) in [
            ("norm_1", &[o.n_embd][..]),
            ("attn.Wqkv", &[o.n_embd + 2 * n_embd_kv, o.n_embd]),
            ("attn.out_proj", &[o.n_embd, o.n_embd]),
            ("norm_2", &[o.n_embd]),
            ("ffn.up_proj", &[o.n_ff, o.n_embd]),
            ("ffn.down_proj", &[o.n_embd, o.n_ff]),
        ] {
            add(&mut shapes, format!("{block}.{part}"), shape, o.biases);
        }
    }
    add(&mut shapes, "transformer.norm_f", &[o.n_embd], o.biases);
    (config, shapes)
}
