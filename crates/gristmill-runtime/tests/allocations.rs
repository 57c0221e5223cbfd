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
        // A token in each step is one in `other` and two in `one`, where lists that grow with the text double after 32 and
        // after 64. Keys and values get a page of their own at 128.
        let mut steps = |tokens: &[u32]| {
            for &token in tokens {
                one.feed(&[token]).expect("a token that fits");
                feed_together(&mut [&mut one, &mut other], &[token; 2]).expect("tokens that fit");
            }
        };
        let tokens = tokens(31);
        let (first, later) = tokens.split_at(17);
        steps(first);
        // A thread that the others did not leave anything to do until now makes what it works in when they do.
        let taken: Vec<usize> = later.chunks(2).map(|two| allocations(|| steps(two))).collect();
        assert!(taken.contains(&0), "{kind:?}: {taken:?} in two steps each");
    }
}
