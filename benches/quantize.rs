//! Rows to blocks and back, for every type: bytes of f32 per second on one thread.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gristmill::quant::CODECS;
use gristmill_benches::noise;

const N: usize = 1 << 18;

fn quantize(criterion: &mut Criterion) {
    let values = noise(1, N);
    let mut group = criterion.benchmark_group("quantize");
    group.throughput(Throughput::Bytes(4 * N as u64));
    for codec in CODECS {
        let Some(quantize) = codec.quantize else { continue };
        let n_bytes = codec.dtype.row_bytes(N).expect("whole blocks");
        let mut blocks = vec![0; n_bytes];
        group.bench_function(codec.dtype.name().to_lowercase(), |bencher| {
            bencher.iter(|| quantize(&values, &mut blocks));
        });
    }
    group.finish();
}

fn dequantize(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dequantize");
    group.throughput(Throughput::Bytes(4 * N as u64));
    for codec in CODECS {
        let n_bytes = codec.dtype.row_bytes(N).expect("whole blocks");
        let mut blocks = vec![0x11; n_bytes];
        if let Some(quantize) = codec.quantize {
            quantize(&noise(2, N), &mut blocks);
        }
        group.bench_function(codec.dtype.name().to_lowercase(), |bencher| {
            bencher.iter_batched_ref(
                || vec![0.0; N],
                |values| (codec.dequantize)(&blocks, values),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, quantize, dequantize);
criterion_main!(benches);
