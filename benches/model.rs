//! Whole models: loading, prefill, decoding, decoding behind a long text, and decoding several texts together, in
//! tokens per second.
//!
//! The demo model in several types, or the file that `GRISTMILL_BENCH_MODEL` names.
#![allow(missing_docs, reason = "criterion's macros write public items")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gristmill::convert::ConvertOptions;
use gristmill::convert::OutType;
use gristmill::runtime::{Session, SessionOptions, feed_together};

const N_PROMPT: usize = 256;
const N_LONG: usize = 480;
const N_TEXTS: usize = 8;

/// The files, and the folder that keeps them.
fn files() -> (Vec<(String, PathBuf)>, tempfile::TempDir) {
    let work = tempfile::tempdir().expect("a temporary folder");
    if let Some(file) = std::env::var_os("GRISTMILL_BENCH_MODEL").map(PathBuf::from) {
        let name = file.file_stem().expect("a file").to_string_lossy().into_owned();
        return (vec![(name, file)], work);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tale-gptj-4m");
    let convert = |outtype: OutType| {
        let file = work.path().join(format!("{outtype}.gguf"));
        let options = ConvertOptions { outtype, ..ConvertOptions::default() };
        gristmill::convert(&folder, &file, &options).expect("the demo converts");
        (outtype.name().to_lowercase(), file)
    };
    ([OutType::F16, OutType::Q8_0, OutType::Q4_0].map(convert).to_vec(), work)
}

fn run(criterion: &mut Criterion) {
    let (files, _work) = files();
    for (name, file) in &files {
        let load = || gristmill::open(file).and_then(|opened| opened.model()).expect("it loads");
        let mut group = criterion.benchmark_group("model");
        group.sample_size(10).measurement_time(Duration::from_secs(3));
        group.bench_function(BenchmarkId::new("load", name), |bencher| bencher.iter(load));

        let model = load();
        let new_session = |n_threads| {
            let options = SessionOptions { n_ctx: 512, n_threads, ..SessionOptions::default() };
            Session::new(Arc::clone(&model), options).expect("a session")
        };
        let mut session = new_session(2);
        let text: Vec<u32> = (0..N_LONG as u32).collect();

        group.throughput(Throughput::Elements(N_PROMPT as u64));
        group.bench_function(BenchmarkId::new("prefill", name), |bencher| {
            bencher.iter(|| {
                session.rewind(0);
                session.feed(&text[..N_PROMPT]).expect("it fits")[0]
            });
        });
        group.throughput(Throughput::Elements(1));
        for (what, n_past) in [("decode", 1), ("decode behind a long text", N_LONG)] {
            session.rewind(0);
            session.feed(&text[..n_past]).expect("it fits");
            group.bench_function(BenchmarkId::new(what, name), |bencher| {
                bencher.iter(|| {
                    session.rewind(n_past);
                    session.feed(&[7]).expect("it fits")[0]
                });
            });
        }

        // The threads are those of the first.
        let mut sessions: Vec<Session> =
            (0..N_TEXTS).map(|i| new_session(if i == 0 { 2 } else { 1 })).collect();
        for session in &mut sessions {
            session.feed(&text[..1]).expect("it fits");
        }
        group.throughput(Throughput::Elements(N_TEXTS as u64));
        group.bench_function(BenchmarkId::new("decode together", name), |bencher| {
            bencher.iter(|| {
                sessions.iter_mut().for_each(|session| session.rewind(1));
                let mut texts: Vec<&mut Session> = sessions.iter_mut().collect();
                feed_together(&mut texts, &[7; N_TEXTS]).expect("they fit");
            });
        });
        group.finish();
    }
}

criterion_group!(benches, run);
criterion_main!(benches);
