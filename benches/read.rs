//! Opening model files: how long until every tensor and the whole vocabulary are known.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};

fn open(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tale-gptj-4m");
    let work = tempfile::tempdir().expect("a temporary folder");
    let gguf = work.path().join("model.gguf");
    gristmill::convert(&folder, &gguf, &gristmill::convert::ConvertOptions::default())
        .expect("the demo converts");

    let mut group = criterion.benchmark_group("open");
    group.bench_function("torch", |bencher| {
        bencher.iter(|| gristmill::open(&folder).expect("it opens"))
    });
    group.bench_function("gguf", |bencher| {
        bencher.iter(|| gristmill::open(&gguf).expect("it opens"))
    });
    group.bench_function("gguf/load", |bencher| {
        bencher.iter(|| gristmill::load(&gguf).expect("it loads"));
    });
    group.finish();
}

criterion_group!(benches, open);
criterion_main!(benches);
