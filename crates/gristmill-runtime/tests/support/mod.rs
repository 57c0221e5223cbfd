//! Small models with random weights that use every operation, as programs built directly.

use std::sync::Arc;

use gristmill_graph::{Attention, Gelu, Graph, Program, Rope, RopeStyle, Var};
use gristmill_runtime::{Model, Session, SessionOptions};
use gristmill_tensor::{DType, Metadata, Shape, TensorInfo};
use gristmill_testkit::{MemoryCheckpoint, Rng};

pub(crate) const N_VOCAB: usize = 61;
const N_EMBD: usize = 24;
const N_LAYER: usize = 3;
const N_POSITIONS: usize = 400;

/// What kind of model to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two norms per block, gated SiLU, grouped heads, a sliding window, neighboring pairs.
    Llama,
    /// One norm for two parallel branches, some dimensions of each head turned, biases.
    GptJ,
    /// Fused and clamped projections, ALiBi, exact GELU, tied head.
    Mpt,
    /// Learned positions.
    Gpt2,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Llama, Kind::GptJ, Kind::Mpt, Kind::Gpt2];

/// The weights of such a model.
pub(crate) fn weights(kind: Kind) -> MemoryCheckpoint {
    let mut shapes: Vec<(String, Vec<usize>)> =
        vec![("token_embd.weight".into(), vec![N_VOCAB, N_EMBD])];
    let mut add = |name: String, shape: &[usize], bias: bool| {
        shapes.push((format!("{name}.weight"), shape.to_vec()));
        if bias {
            shapes.push((format!("{name}.bias"), vec![shape[0]]));
        }
    };
    let biases = kind != Kind::Llama;
    if kind == Kind::Gpt2 {
        add("position_embd".into(), &[N_POSITIONS, N_EMBD], false);
    }
    for il in 0..N_LAYER {
        let blk = |part: &str| format!("blk.{il}.{part}");
        add(blk("attn_norm"), &[N_EMBD], biases);
        match kind {
            Kind::Llama => {
                add(blk("attn_q"), &[32, N_EMBD], false);
                add(blk("attn_k"), &[16, N_EMBD], false);
                add(blk("attn_v"), &[16, N_EMBD], false);
                add(blk("attn_output"), &[N_EMBD, 32], false);
                add(blk("ffn_gate"), &[40, N_EMBD], false);
            }
            Kind::GptJ => ["attn_q", "attn_k", "attn_v", "attn_output"]
                .iter()
                .for_each(|part| add(blk(part), &[N_EMBD, N_EMBD], false)),
            Kind::Mpt | Kind::Gpt2 => {
                add(blk("attn_qkv"), &[3 * N_EMBD, N_EMBD], biases);
                add(blk("attn_output"), &[N_EMBD, N_EMBD], biases);
            }
        }
        if kind != Kind::GptJ {
            add(blk("ffn_norm"), &[N_EMBD], biases);
        }
        add(blk("ffn_up"), &[40, N_EMBD], biases);
        add(blk("ffn_down"), &[N_EMBD, 40], biases);
    }
    add("output_norm".into(), &[N_EMBD], biases);
    if kind != Kind::Mpt {
        add("output".into(), &[N_VOCAB, N_EMBD], biases);
    }

    let mut rng = Rng::new(kind as u64 + 1);
    let tensors: Vec<_> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let n = shape.iter().product();
            let values = match shape[..] {
                [_] if name.ends_with("norm.weight") => {
                    rng.normals(n, 0.1).iter().map(|x| x + 1.0).collect()
                }
                [_] => rng.normals(n, 0.1),
                _ => rng.normals(n, 0.35),
            };
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (TensorInfo::new(name, DType::F32, Shape::new(shape)), bytes)
        })
        .collect();
    MemoryCheckpoint::new("test", Metadata::new("test"), tensors)
}

/// The forward pass of such a model.
pub(crate) fn program(kind: Kind, checkpoint: &MemoryCheckpoint) -> Program {
    use gristmill_tensor::Checkpoint;
    let shapes =
        checkpoint.tensors().iter().map(|info| (info.name.clone(), info.shape.dims().to_vec()));
    let graph = Graph::new(shapes);
    let mut x = graph.tokens().embed("token_embd");
    if kind == Kind::Gpt2 {
        x = x + graph.positions().embed("position_embd");
    }
    for il in 0..N_LAYER {
        x = block(kind, x, il);
    }
    let x = if kind == Kind::Llama {
        x.rms_norm("output_norm", 1e-5)
    } else {
        x.layer_norm("output_norm", 1e-5)
    };
    let logits = x.linear(if kind == Kind::Mpt { "token_embd" } else { "output" }).id();
    graph.finish(logits).expect("a right graph")
}

fn block<'g>(kind: Kind, x: Var<'g>, il: usize) -> Var<'g> {
    let blk = |part: &str| format!("blk.{il}.{part}");
    let attention = Attention {
        n_head: 3,
        n_head_kv: 3,
        head_dim: 8,
        scale: 0.35,
        alibi_max: None,
        window: None,
    };
    match kind {
        Kind::Llama => {
            let rope = Rope {
                style: RopeStyle::Interleaved,
                head_dim: 8,
                inv_freq: [1.0, 0.3, 0.1, 0.01].into(),
                scale: 1.0,
            };
            let attention = Attention { n_head: 4, n_head_kv: 2, window: Some(70), ..attention };
            let h = x.rms_norm(&blk("attn_norm"), 1e-5);
            let q = h.linear(&blk("attn_q")).rope(&rope);
            let k = h.linear(&blk("attn_k")).rope(&rope);
            let x =
                x + q.attend(k, h.linear(&blk("attn_v")), attention).linear(&blk("attn_output"));
            let h = x.rms_norm(&blk("ffn_norm"), 1e-5);
            x + (h.linear(&blk("ffn_gate")).silu() * h.linear(&blk("ffn_up")))
                .linear(&blk("ffn_down"))
        }
        Kind::GptJ => {
            let rope = Rope {
                style: RopeStyle::Halves,
                head_dim: 8,
                inv_freq: [1.0, 0.1].into(),
                scale: 1.0,
            };
            let h = x.layer_norm(&blk("attn_norm"), 1e-5);
            let q = h.linear(&blk("attn_q")).rope(&rope);
            let k = h.linear(&blk("attn_k")).rope(&rope);
            let attn = q.attend(k, h.linear(&blk("attn_v")), attention).linear(&blk("attn_output"));
            x + attn + h.linear(&blk("ffn_up")).gelu(Gelu::Tanh).linear(&blk("ffn_down"))
        }
        Kind::Mpt | Kind::Gpt2 => {
            let alibi_max = (kind == Kind::Mpt).then_some(8.0);
            let mut qkv = x.layer_norm(&blk("attn_norm"), 1e-5).linear(&blk("attn_qkv"));
            if kind == Kind::Mpt {
                qkv = qkv.clamp(2.0);
            }
            let [q, k, v] = qkv.split([N_EMBD; 3]);
            let attn = q.attend(k, v, Attention { alibi_max, ..attention });
            let x = x + attn.linear(&blk("attn_output"));
            let h = x.layer_norm(&blk("ffn_norm"), 1e-5).linear(&blk("ffn_up")).gelu(Gelu::Exact);
            x + h.linear(&blk("ffn_down")).scale(0.5)
        }
    }
}

/// The model, bound.
pub(crate) fn model(kind: Kind) -> Arc<Model> {
    let weights = weights(kind);
    Arc::new(Model::bind(program(kind, &weights), &weights).expect("weights that fit"))
}

/// Tokens that look random.
pub(crate) fn tokens(n: usize) -> Vec<u32> {
    let mut rng = Rng::new(5);
    (0..n).map(|_| rng.below(N_VOCAB) as u32).collect()
}

/// A session of 400 tokens in batches of 64 with two threads, or as `change` has it.
pub(crate) fn session(model: &Arc<Model>, change: impl FnOnce(&mut SessionOptions)) -> Session {
    let mut options = SessionOptions {
        n_ctx: N_POSITIONS,
        n_batch: 64,
        n_threads: 2,
        ..SessionOptions::default()
    };
    change(&mut options);
    Session::new(Arc::clone(model), options).expect("an ordinary session")
}
