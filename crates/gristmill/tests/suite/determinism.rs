//! Logits are the same bytes for every number of threads, every batch size and a reused beginning, whatever type the
//! weights have.

use std::path::Path;
use std::sync::Arc;

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::runtime::{Model, Session, SessionOptions};

/// The logits after `tokens`, of which the first `n_before` are fed before the others.
fn logits(
    model: &Arc<Model>,
    n_threads: usize,
    n_batch: usize,
    tokens: &[u32],
    n_before: usize,
) -> Vec<f32> {
    let options = SessionOptions {
        n_ctx: 256,
        n_batch,
        n_threads,
        deterministic: true,
        ..SessionOptions::default()
    };
    let mut session = Session::new(Arc::clone(model), options).expect("a session that fits");
    if n_before > 0 {
        // A beginning that is kept while another end is tried.
        session.feed(&tokens[..n_before]).expect("a session that fits");
        session.feed(&[3, 1, 4]).expect("a session that fits");
        session.rewind(n_before);
    }
    session.feed(&tokens[n_before..]).expect("a session that fits").to_vec()
}

#[test]
fn logits_depend_on_nothing_but_the_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tale-gptj-4m");
    let work = tempfile::tempdir().unwrap();
    let tokens: Vec<u32> = (0..150).map(|i| i * 7 % 400).collect();
    for &outtype in OutType::ALL {
        let file = work.path().join(format!("{outtype}.gguf"));
        let options = ConvertOptions { outtype, ..ConvertOptions::default() };
        gristmill::convert(&folder, &file, &options).unwrap();
        let model = gristmill::open(&file).unwrap().model().unwrap();
        let expected = logits(&model, 1, 512, &tokens, 0);
        for n_threads in [2, 3, 8] {
            assert!(
                logits(&model, n_threads, 512, &tokens, 0) == expected,
                "{outtype}: {n_threads} threads"
            );
        }
        for n_batch in [1, 7, 64] {
            assert!(
                logits(&model, 2, n_batch, &tokens, 0) == expected,
                "{outtype}: batches of {n_batch}"
            );
        }
        for n_before in [1, 77, 149] {
            assert!(
                logits(&model, 2, 512, &tokens, n_before) == expected,
                "{outtype}: {n_before} tokens kept"
            );
        }
    }
}
