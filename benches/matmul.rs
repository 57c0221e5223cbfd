//! Products of every weight type: bytes of weights per second for one token, operations per second for 128.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gristmill::kernels::{Activations, Matrix, Team, level, matmul};
use gristmill::quant::CODECS;
use gristmill::tensor::{Bytes, Tensor, TensorInfo};
use gristmill_benches::noise;

const N_IN: usize = 4096;
const N_OUT: usize = 4096;
const N_THREADS: usize = 2;

/// A matrix of every type that can be written.
fn matrices() -> impl Iterator<Item = Matrix> {
    CODECS.iter().filter_map(|codec| {
        let quantize = codec.quantize?;
        let info = TensorInfo::new("weight", codec.dtype, [N_OUT, N_IN]);
        let mut bytes = vec![0; info.n_bytes() as usize];
        quantize(&noise(3, N_OUT * N_IN), &mut bytes);
        Matrix::new(Tensor { info, bytes: Bytes::from(bytes) }).ok()
    })
}

fn products(criterion: &mut Criterion) {
    let team = Team::new(N_THREADS);
    for n_tokens in [1, 8, 128] {
        let mut group = criterion.benchmark_group(format!("matmul/{n_tokens}"));
        let x = noise(4, n_tokens * N_IN);
        let mut y = vec![0.0; n_tokens * N_OUT];
        for matrix in matrices() {
            let work = match n_tokens {
                1 => Throughput::Bytes(matrix.bytes().len() as u64),
                _ => Throughput::Elements(2 * (n_tokens * N_IN * N_OUT) as u64),
            };
            group.throughput(work);
            let name = matrix.dtype().name().to_lowercase();
            let level = format!("{:?}", level()).to_lowercase();
            let mut activations = Activations::new();
            group.bench_function(BenchmarkId::new(name, level), |bencher| {
                bencher.iter(|| {
                    activations.load(&team, &x, N_IN);
                    matmul(&team, &matrix, &mut activations, None, &mut y);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
