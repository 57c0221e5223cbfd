//! Rows to blocks and back, for every type: bytes of f32 per second on one thread; and blocks of old layouts to today's.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gristmill::quant::{CODECS, codec, transcoding};
use gristmill::tensor::DType;
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

fn transcode(criterion: &mut Criterion) {
    let values = noise(3, N);
    let mut group = criterion.benchmark_group("transcode");
    for from in DType::ALL {
        let (Some(to), Some(make)) = (from.successor(), codec(*from).and_then(|c| c.quantize))
        else {
            continue;
        };
        let way = transcoding(*from, to).expect("every old layout leads to today's");
        let bytes = |dtype: DType| vec![0; dtype.row_bytes(N).expect("whole blocks")];
        let (mut old, mut new) = (bytes(*from), bytes(to));
        make(&values, &mut old);
        group.throughput(Throughput::Bytes(old.len() as u64));
        group.bench_function(from.name().to_lowercase(), |bencher| {
            bencher.iter(|| (way.apply)(&old, &mut new));
        });
    }
    group.finish();
}

criterion_group!(benches, quantize, dequantize, transcode);
criterion_main!(benches);
