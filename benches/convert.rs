//! A whole conversion, from a PyTorch file on disk to a GGUF file on disk: bytes of the checkpoint per second.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gristmill::convert::ConvertOptions;
use gristmill::convert::OutType;

fn convert(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tale-gptj-4m");
    let size = std::fs::metadata(folder.join("pytorch_model.bin")).expect("the demo model").len();
    let work = tempfile::tempdir().expect("a temporary folder");
    let out = work.path().join("out.gguf");

    let mut group = criterion.benchmark_group("convert");
    group.throughput(Throughput::Bytes(size)).sample_size(20);
    for &outtype in OutType::ALL {
        let options = ConvertOptions { outtype, force: true, ..ConvertOptions::default() };
        group.bench_function(outtype.name().to_lowercase(), |bencher| {
            bencher
                .iter(|| gristmill::convert(&folder, &out, &options).expect("the demo converts"));
        });
    }
    group.finish();
}

criterion_group!(benches, convert);
criterion_main!(benches);
