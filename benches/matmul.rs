//! Products of every weight type at every SIMD level: bytes of weights per second for one token, operations per second
//! for more.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use gristmill::kernels::roofline::Arithmetic;
use gristmill::kernels::{Activations, Matrix, Team, matmul};
use gristmill::quant::CODECS;
use gristmill::tensor::{Bytes, DType, Tensor, TensorInfo};
use gristmill_benches::{at_every_level, level_name, noise};

/// Tokens and `[n_out, n_in]`. Rows of 11008 end in the middle of what kernels take at once; so many are more than
/// caches hold.
const SHAPES: &[(usize, [usize; 2])] =
    &[(1, [4096, 4096]), (1, [8192, 11008]), (8, [4096, 4096]), (128, [4096, 4096])];
const N_THREADS: usize = 2;

/// A matrix of every type in use today: those with kernels of their own, and plain floats.
fn matrices(shape: [usize; 2]) -> impl Iterator<Item = Matrix> {
    let floats = [DType::F32, DType::F16, DType::BF16];
    let types = CODECS.iter().map(|codec| codec.dtype).filter(move |&dtype| {
        floats.contains(&dtype) || Arithmetic::of(dtype, 1) == Some(Arithmetic::Int8)
    });
    types.map(move |dtype| {
        let info = TensorInfo::new("weight", dtype, shape);
        // Any bytes will do: in these, all scales are small.
        let bytes = vec![0x11; info.n_bytes() as usize];
        Matrix::new(Tensor { info, bytes: Bytes::from(bytes) }).expect("it can be multiplied")
    })
}

fn products(criterion: &mut Criterion) {
    let team = Team::new(N_THREADS);
    for &(n_tokens, shape) in SHAPES {
        let [n_out, n_in] = shape;
        let mut group = criterion.benchmark_group(format!("matmul/{n_tokens}x{n_in}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(1));
        let x = noise(4, n_tokens * n_in);
        let mut y = vec![0.0; n_tokens * n_out];
        for matrix in matrices(shape) {
            group.throughput(match n_tokens {
                1 => Throughput::Bytes(matrix.bytes().len() as u64),
                _ => Throughput::Elements(2 * (n_tokens * n_in * n_out) as u64),
            });
            let name = matrix.dtype().name().to_lowercase();
            let mut activations = Activations::new();
            group.bench_function(BenchmarkId::new(name, level_name()), |bencher| {
                bencher.iter(|| {
                    // The quantization of the activations is part of the product.
                    activations.load(&team, &x, n_in);
                    matmul(&team, &matrix, &mut activations, None, &mut y);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, products);

fn main() {
    at_every_level(benches);
}
