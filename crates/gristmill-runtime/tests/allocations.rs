//! Between the points where what grows with the text gets more room, a step takes no memory from the heap: what it works
//! in is kept for the next.

mod support;

use gristmill_runtime::feed_together;
use gristmill_testkit::heap::{Counting, allocations};
use support::{KINDS, model, session, tokens};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_step_takes_no_memory() {
    for kind in KINDS {
        let model = model(kind);
        let [mut one, mut other] = [2, 1].map(|n| session(&model, |options| options.n_threads = n));
        // Lists that grow with the text double at 64 tokens, and keys and values get a page of their own at 128.
        let mut steps = |tokens: &[u32]| {
            for &token in tokens {
                one.feed(&[token]).expect("a token that fits");
                feed_together(&mut [&mut one, &mut other], &[token; 2]).expect("tokens that fit");
            }
        };
        let tokens = tokens(30);
        steps(&tokens[..20]);
        assert_eq!(allocations(|| steps(&tokens[20..])), 0, "{kind:?}");
    }
}
