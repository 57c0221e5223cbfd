//! Running a whole model: tokens per second of prefill and of decoding.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gristmill::convert::ConvertOptions;
use gristmill::convert::OutType;
use gristmill::runtime::{Session, SessionOptions};

fn run(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tale-gptj-4m");
    let work = tempfile::tempdir().expect("a temporary folder");
    for outtype in [OutType::F16, OutType::Q8_0, OutType::Q4_0] {
        let file = work.path().join(format!("{outtype}.gguf"));
        let options = ConvertOptions { outtype, ..ConvertOptions::default() };
        gristmill::convert(&folder, &file, &options).expect("the demo converts");
        let model = gristmill::open(&file).and_then(|opened| opened.model()).expect("it loads");
        let options = SessionOptions { n_ctx: 512, n_threads: 2, ..SessionOptions::default() };
        let mut session = Session::new(Arc::clone(&model), options).expect("a session");
        let prompt: Vec<u32> = (0..256).collect();

        let name = outtype.name().to_lowercase();
        let mut group = criterion.benchmark_group("run");
        group.throughput(Throughput::Elements(256));
        group.bench_function(format!("prefill/{name}"), |bencher| {
            bencher.iter(|| {
                session.rewind(0);
                session.feed(&prompt).expect("it fits")[0]
            });
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("decode/{name}"), |bencher| {
            bencher.iter(|| {
                session.rewind(256);
                session.feed(&[7]).expect("it fits")[0]
            });
        });
        group.finish();
    }
}

criterion_group!(benches, run);
criterion_main!(benches);
