//! Falcon against its definition, computed plainly in double precision from the tensors that a publisher uploads.
//!
//! The definition follows Transformers' `modeling_falcon.py`, with its order of rows in the fused projection; nothing
//! of it is shared with the architecture's own file.

use std::collections::HashMap;
use std::f64::consts::{PI, SQRT_2};
use std::sync::Arc;

use gristmill::runtime::{CacheType, Session, SessionOptions};
use gristmill_testkit::{Options, Tiny, tiny};

type Row = Vec<f64>;

/// A model as it is published.
struct Published {
    tensors: HashMap<String, Row>,
    n_layer: usize,
    n_embd: usize,
    n_head: usize,
    n_head_kv: usize,
    large: bool,
}

impl Published {
    fn new(tiny: Tiny, options: &Options) -> Published {
        let tensors = tiny.checkpoint.into_tensors().into_iter().map(|(info, bytes)| {
            let values = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b).into());
            (info.name, values.collect())
        });
        let large = options.n_head_kv < options.n_head;
        Published {
            tensors: tensors.collect(),
            n_layer: options.n_layer,
            n_embd: options.n_embd,
            n_head: options.n_head,
            n_head_kv: if large { options.n_head_kv } else { 1 },
            large,
        }
    }

    fn linear(&self, name: &str, x: &[f64]) -> Row {
        let rows = self.tensors[&format!("{name}.weight")].chunks_exact(x.len());
        rows.map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }

    fn layer_norm(&self, name: &str, x: &[f64]) -> Row {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let [gain, shift] = ["weight", "bias"].map(|part| &self.tensors[&format!("{name}.{part}")]);
        let standard = x.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt());
        standard.zip(gain.iter().zip(shift)).map(|(x, (gain, shift))| x * gain + shift).collect()
    }

    /// The heads of queries, keys and values of one token, rotated, out of groups `q… k v`.
    fn heads(&self, fused: &[f64], position: usize) -> [Vec<Row>; 3] {
        let shared = self.n_head / self.n_head_kv;
        let mut heads = [const { Vec::new() }; 3];
        for (place, head) in fused.chunks_exact(self.n_embd / self.n_head).enumerate() {
            match (place % (shared + 2)).checked_sub(shared) {
                None => heads[0].push(rotated(head, position)),
                Some(0) => heads[1].push(rotated(head, position)),
                Some(_) => heads[2].push(head.to_vec()),
            }
        }
        heads
    }

    fn attention(&self, h: &str, x: &[Row]) -> Vec<Row> {
        let of = |part: &str| format!("{h}.self_attention.{part}");
        let heads: Vec<_> = (x.iter().enumerate())
            .map(|(position, x)| self.heads(&self.linear(&of("query_key_value"), x), position))
            .collect();
        let attended = heads.iter().enumerate().map(|(position, [queries, ..])| {
            let mut row = Row::new();
            for (number, query) in queries.iter().enumerate() {
                let kv = number * self.n_head_kv / self.n_head;
                let past = &heads[..=position];
                let scores: Row = past
                    .iter()
                    .map(|[_, keys, _]| dot(query, &keys[kv]) / (query.len() as f64).sqrt())
                    .map(f64::exp)
                    .collect();
                let sum: f64 = scores.iter().sum();
                row.extend((0..query.len()).map(|i| {
                    let weighted = past.iter().zip(&scores);
                    weighted.map(|([_, _, values], score)| score * values[kv][i]).sum::<f64>() / sum
                }));
            }
            self.linear(&of("dense"), &row)
        });
        attended.collect()
    }

    fn logits(&self, tokens: &[u32]) -> Row {
        let table = &self.tensors["transformer.word_embeddings.weight"];
        let embed = |&token: &u32| table[token as usize * self.n_embd..][..self.n_embd].to_vec();
        let mut x: Vec<Row> = tokens.iter().map(embed).collect();
        for il in 0..self.n_layer {
            let h = format!("transformer.h.{il}");
            let [for_attn, for_mlp] =
                if self.large { ["ln_attn", "ln_mlp"] } else { ["input_layernorm"; 2] }.map(
                    |norm| -> Vec<Row> {
                        x.iter().map(|x| self.layer_norm(&format!("{h}.{norm}"), x)).collect()
                    },
                );
            let attn = self.attention(&h, &for_attn);
            for (x, (attn, for_mlp)) in x.iter_mut().zip(attn.iter().zip(&for_mlp)) {
                let up = self.linear(&format!("{h}.mlp.dense_h_to_4h"), for_mlp);
                let up: Row = up.into_iter().map(gelu).collect();
                let mlp = self.linear(&format!("{h}.mlp.dense_4h_to_h"), &up);
                x.iter_mut().zip(attn.iter().zip(mlp)).for_each(|(x, (a, m))| *x += a + m);
            }
        }
        let logits = |x: &Row| self.linear("lm_head", &self.layer_norm("transformer.ln_f", x));
        x.iter().flat_map(logits).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Pairs `(i, i + d/2)` turned by `position * 10000^(-2i/d)`.
fn rotated(head: &[f64], position: usize) -> Row {
    let half = head.len() / 2;
    let mut turned = head.to_vec();
    for i in 0..half {
        let angle = position as f64 * 10_000f64.powf(-(i as f64) / half as f64);
        let (sin, cos) = angle.sin_cos();
        turned[i] = head[i] * cos - head[i + half] * sin;
        turned[i + half] = head[i] * sin + head[i + half] * cos;
    }
    turned
}

/// `x Φ(x)`, with the error function by its Taylor series.
fn gelu(x: f64) -> f64 {
    let z = x / SQRT_2;
    let (mut term, mut erf) = (z, z);
    for n in 1..120 {
        let n = f64::from(n);
        term *= -z * z / n;
        erf += term / (2.0 * n + 1.0);
    }
    x * 0.5 * (1.0 + erf * 2.0 / PI.sqrt())
}

fn check(options: &Options) {
    let folder = tempfile::tempdir().unwrap();
    tiny("falcon", options).save(folder.path()).unwrap();
    let (model, _) = gristmill::load(folder.path()).unwrap();
    let cache = CacheType::F32;
    let session = SessionOptions { n_ctx: 32, n_threads: 1, cache, ..SessionOptions::default() };
    let mut session = Session::new(Arc::clone(&model), session).unwrap();
    let tokens: Vec<u32> = (0..12).map(|i| i * 23 % 280).collect();
    let mut found = Vec::new();
    session.feed_all(&tokens, &mut |_, logits| found.extend_from_slice(logits)).unwrap();

    let expected = Published::new(tiny("falcon", options), options).logits(&tokens);
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs());
    let error = apart.fold(0.0, f64::max);
    assert!(error < 1e-4, "logits differ by {error}");
}

#[test]
fn the_small_models_share_one_norm_and_one_key_head() {
    check(&Options::default());
}

#[test]
fn the_large_models_have_two_norms_and_groups_of_heads() {
    for n_head_kv in [1, 2] {
        check(&Options { n_head_kv, ..Options::default() });
    }
}
