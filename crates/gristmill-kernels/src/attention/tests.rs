use gristmill_quant::{BlockFormat, Q8_0, Quantize};
use half::f16;

use super::*;
use crate::CacheType;

/// Numbers from -1 to 1 that repeat late.
fn values(n: usize, seed: usize) -> Vec<f32> {
    let mut state = seed as u64 * 2 + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    n_head: usize,
    n_head_kv: usize,
    head_dim: usize,
    n_tokens: usize,
    alibi: Option<f32>,
    window: Option<usize>,
}

impl Case {
    fn slopes(&self) -> Vec<f32> {
        self.alibi.map_or(Vec::new(), |max| alibi_slopes(self.n_head, max))
    }

    fn scale(&self) -> f32 {
        2.0 / (self.head_dim as f32).sqrt()
    }

    /// Queries, keys and values of all tokens.
    fn qkv(&self) -> [Vec<f32>; 3] {
        [self.n_head, self.n_head_kv, self.n_head_kv]
            .map(|n| values(self.n_tokens * n * self.head_dim, n + self.n_tokens))
    }

    /// Feeds the tokens in pieces of these sizes and gives the results of all.
    fn attend(
        &self,
        cache_type: CacheType,
        n_threads: usize,
        mut piece: impl FnMut() -> usize,
    ) -> Vec<f32> {
        let team = Team::new(n_threads);
        let slopes = self.slopes();
        let attention = Attention {
            n_head: self.n_head,
            scale: self.scale(),
            slopes: &slopes,
            window: self.window,
        };
        let [q, k, v] = self.qkv();
        let (width, width_kv) = (self.n_head * self.head_dim, self.n_head_kv * self.head_dim);
        let mut cache = KvCache::new(self.n_head_kv, self.head_dim, cache_type);
        let (mut out, mut scratch) = (vec![0.0; q.len()], Vec::new());
        let mut first = 0;
        while first < self.n_tokens {
            let end = self.n_tokens.min(first + piece());
            let rows_kv = first * width_kv..end * width_kv;
            cache.reserve(end).unwrap();
            cache.write(&team, first, &k[rows_kv.clone()], &v[rows_kv]);
            let rows = first * width..end * width;
            attend(
                &team,
                &attention,
                &cache,
                first,
                &q[rows.clone()],
                &mut out[rows],
                &mut scratch,
            );
            first = end;
        }
        out
    }

    /// The formula, in double precision, with a score for every key, of keys and values as a cache keeps them.
    fn reference(&self, cache_type: CacheType) -> Vec<f64> {
        let [q, k, v] = self.qkv();
        let [k, v] = [k, v].map(|x| kept(&x, self.head_dim, cache_type));
        let slopes = self.slopes();
        let d = self.head_dim;
        let mut out = Vec::new();
        for t in 0..self.n_tokens {
            for h in 0..self.n_head {
                let kv = h / (self.n_head / self.n_head_kv);
                let q = &q[(t * self.n_head + h) * d..][..d];
                let row = |x: &'_ [f32], j: usize, i: usize| {
                    f64::from(x[(j * self.n_head_kv + kv) * d + i])
                };
                let first = self.window.map_or(0, |window| (t + 1).saturating_sub(window));
                let scores: Vec<f64> = (first..=t)
                    .map(|j| {
                        let dot: f64 = (0..d).map(|i| f64::from(q[i]) * row(&k, j, i)).sum();
                        let slope = slopes.get(h).map_or(0.0, |&slope| f64::from(slope));
                        dot * f64::from(self.scale()) - slope * (t - j) as f64
                    })
                    .collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..d {
                    let weighted = weights
                        .iter()
                        .enumerate()
                        .map(|(j, weight)| weight * row(&v, first + j, i));
                    out.push(weighted.sum::<f64>() / sum);
                }
            }
        }
        out
    }
}

const CACHE_TYPES: [CacheType; 3] = [CacheType::F32, CacheType::F16, CacheType::Q8_0];

/// Heads of numbers, rounded to what a cache of this type can hold.
fn kept(x: &[f32], head_dim: usize, cache_type: CacheType) -> Vec<f32> {
    match cache_type {
        CacheType::F32 => x.to_vec(),
        CacheType::F16 => x.iter().map(|&x| f16::from_f32(x).to_f32()).collect(),
        CacheType::Q8_0 => {
            let mut all = Vec::new();
            for head in x.chunks(head_dim) {
                let mut padded = head.to_vec();
                padded.resize(head_dim.next_multiple_of(32), 0.0);
                let mut blocks = vec![0; padded.len() / 32 * 34];
                Q8_0::quantize(&padded, &mut blocks);
                Q8_0::dequantize(&blocks, &mut padded);
                all.extend_from_slice(&padded[..head_dim]);
            }
            all
        }
    }
}

const PLAIN: Case =
    Case { n_head: 4, n_head_kv: 4, head_dim: 16, n_tokens: 40, alibi: None, window: None };

/// Every feature, group sizes around the tile's rows, head widths that are and are not whole vectors.
const CASES: &[Case] = &[
    PLAIN,
    Case { n_tokens: 1, ..PLAIN },
    Case { n_head: 9, n_head_kv: 3, head_dim: 64, n_tokens: 300, ..PLAIN },
    Case { n_head: 6, n_head_kv: 1, head_dim: 20, n_tokens: 140, alibi: Some(8.0), window: None },
    Case { n_head: 11, n_head_kv: 1, head_dim: 8, n_tokens: 130, alibi: None, window: Some(5) },
    Case {
        n_head: 8,
        n_head_kv: 2,
        head_dim: 100,
        n_tokens: 290,
        alibi: Some(16.0),
        window: Some(129),
    },
    Case { n_head: 2, n_head_kv: 2, head_dim: 256, n_tokens: 257, alibi: None, window: Some(1) },
    Case { n_head: 71, n_head_kv: 1, head_dim: 4, n_tokens: 20, ..PLAIN },
    Case { n_head: 3, n_head_kv: 3, head_dim: 1, n_tokens: 128, window: Some(1000), ..PLAIN },
];

#[test]
fn agrees_with_the_formula_in_double_precision() {
    for case in CASES {
        for cache_type in CACHE_TYPES {
            let out = case.attend(cache_type, 2, || case.n_tokens);
            let compare = |expected: Vec<f64>, tolerance: f64| {
                for (i, (y, expected)) in out.iter().zip(expected).enumerate() {
                    let error = (f64::from(*y) - expected).abs();
                    assert!(
                        error < tolerance,
                        "{case:?} {cache_type:?} element {i}: {y} is not {expected}"
                    );
                }
            };
            compare(case.reference(cache_type), 3e-6);
            // What a narrow cache loses.
            let tolerance = match cache_type {
                CacheType::F32 => 3e-6,
                CacheType::F16 => 2e-3,
                CacheType::Q8_0 => 2e-2,
            };
            compare(case.reference(CacheType::F32), tolerance);
        }
    }
}

#[test]
fn neither_threads_nor_pieces_change_a_bit() {
    for case in CASES {
        for cache_type in CACHE_TYPES {
            let expected = case.attend(cache_type, 1, || case.n_tokens);
            for n_threads in [1, 2, 3, 8] {
                let at_once = case.attend(cache_type, n_threads, || case.n_tokens);
                assert!(at_once == expected, "{case:?} {cache_type:?} {n_threads} threads");
            }
            assert!(
                case.attend(cache_type, 2, || 1) == expected,
                "{case:?} {cache_type:?} one by one"
            );
            let mut size = 0;
            let pieces = case.attend(cache_type, 2, || {
                size = (size * 7 + 3) % 50 + 1;
                size
            });
            assert!(pieces == expected, "{case:?} {cache_type:?} in pieces");
        }
    }
}

#[test]
fn slopes_are_those_of_the_paper_and_of_its_authors_code() {
    assert_eq!(
        alibi_slopes(8, 8.0),
        [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]
    );
    let six = alibi_slopes(6, 8.0);
    let expected = [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125];
    assert!(six.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-7), "{six:?}");
    assert!(alibi_slopes(0, 8.0).is_empty());
}
