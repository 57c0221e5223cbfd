//! Everything that is not a product with weights, at every SIMD level: elements per second, and operations per second
//! of attention.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group};
use gristmill::kernels::{
    Attention, CacheType, KvCache, Norm, RopePairs, RopeTable, Team, attend, gelu, gelu_tanh, rope,
    silu, silu_mul,
};
use gristmill_benches::{at_every_level, level_name, noise};

const N_THREADS: usize = 2;

/// Heads of LLaMA-7B.
const N_HEAD: usize = 32;
const HEAD_DIM: usize = 128;
const N_EMBD: usize = N_HEAD * HEAD_DIM;

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    group
}

/// Rows of the width of LLaMA-7B: one token, and a batch.
fn rows(criterion: &mut Criterion) {
    let team = Team::new(N_THREADS);
    let weight = noise(1, N_EMBD);
    let mut table = RopeTable::new();
    let inv_freq: Vec<f32> =
        (0..HEAD_DIM / 2).map(|i| 10_000f32.powf(-2.0 * i as f32 / HEAD_DIM as f32)).collect();
    table.fill(&inv_freq, 1.0, &(0..128).collect::<Vec<_>>());
    for n_tokens in [1, 128] {
        let x = noise(2, n_tokens * N_EMBD);
        let mut y = x.clone();
        let mut group = group(criterion, &format!("rows/{n_tokens}"));
        group.throughput(Throughput::Elements((n_tokens * N_EMBD) as u64));
        let mut bench = |name: &str, work: &mut dyn FnMut(&mut [f32])| {
            group.bench_function(BenchmarkId::new(name, level_name()), |bencher| {
                // Starting over keeps the numbers from growing or vanishing.
                bencher.iter(|| {
                    y.copy_from_slice(&x);
                    work(&mut y);
                });
            });
        };
        bench("rms_norm", &mut |y| Norm::rms(&weight, 1e-5).rows(&team, &x, y));
        bench("layer_norm", &mut |y| Norm::layer(&weight, None, 1e-5).rows(&team, &x, y));
        bench("silu", &mut |y| silu(&team, y));
        bench("silu_mul", &mut |y| silu_mul(&team, y, &x));
        bench("gelu", &mut |y| gelu(&team, y));
        bench("gelu_tanh", &mut |y| gelu_tanh(&team, y));
        for (name, pairs) in [("rope", RopePairs::Neighbors), ("rope_halves", RopePairs::Halves)] {
            bench(name, &mut |y| rope(&team, y, N_HEAD, HEAD_DIM, pairs, &table, 0));
        }
        group.finish();
    }
}

/// One token, and a batch of 128, after texts of two lengths; every query head with its own keys, or four sharing;
/// keys and values in half precision or in codes.
fn attention(criterion: &mut Criterion) {
    let team = Team::new(N_THREADS);
    for (n_head_kv, n_past, cache_type) in [
        (32, 512, CacheType::F16),
        (32, 4096, CacheType::F16),
        (8, 4096, CacheType::F16),
        (32, 4096, CacheType::Q8_0),
        (8, 4096, CacheType::Q8_0),
    ] {
        let width = n_head_kv * HEAD_DIM;
        let mut cache = KvCache::new(n_head_kv, HEAD_DIM, cache_type);
        cache.reserve(n_past + 128).expect("there is memory");
        let keys = noise(3, (n_past + 128) * width);
        cache.write(&team, 0, &keys, &keys);
        let mut group = group(criterion, &format!("attention/{n_past}"));
        let settings = Attention {
            n_head: N_HEAD,
            scale: (HEAD_DIM as f32).powf(-0.5),
            slopes: &[],
            window: None,
        };
        for n_tokens in [1, 128] {
            let q = noise(4, n_tokens * N_EMBD);
            let (mut out, mut scratch) = (vec![0.0; n_tokens * N_EMBD], Vec::new());
            // Scores and weighted values: two multiplications and additions for each key's element.
            let n_keys: usize = (0..n_tokens).map(|t| n_past + t + 1).sum();
            group.throughput(Throughput::Elements((4 * n_keys * N_EMBD) as u64));
            let name = format!("{n_tokens} tokens, {n_head_kv} kv heads, {cache_type:?}");
            group.bench_function(BenchmarkId::new(name, level_name()), |bencher| {
                bencher.iter(|| {
                    attend(&team, &settings, &cache, n_past, &q, &mut out, &mut scratch);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, rows, attention);

fn main() {
    at_every_level(benches);
}
