//! No file makes its reader hold more than a few times what the file holds.
//!
//! A test of its own, since it replaces the allocator of the whole program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Raw, open};
use gristmill_testkit::heap::{self, Counting};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// The most that opening these bytes held at once, the bytes themselves not counted.
fn peak(bytes: &[u8]) -> usize {
    // Without the copy that is the source.
    heap::peak(|| drop(open(bytes))) - bytes.len()
}

#[test]
fn memory_follows_the_file_and_not_what_it_claims() {
    // Headers that claim two million tokens, in every container, and nothing behind them.
    const MANY: u32 = 1 << 21;
    for magic in [&b"lmgg"[..], b"fmgg\x01\0\0\0", b"tjgg\x03\0\0\0", b"ccgg\x0a\0\0\0", b"mmgg"] {
        for words in [[MANY, 32, 32, 2, 1, 4, 2, MANY], [32, 32, 2, 1, MANY, 0, 0, 1]] {
            let mut bytes = magic.to_vec();
            words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
            assert!(peak(&bytes) < MIB);
        }
    }
    // As many tokens as the file can hold: all empty, the least for the file and the most for the reader.
    for n_tokens in [1u32 << 14, 1 << 18] {
        let mut raw = Raw::new(b"lmgg", &[n_tokens, 16, 32, 2, 1, 4, 1, n_tokens]);
        (0..n_tokens).for_each(|_| {
            raw.token(b"");
        });
        assert!(peak(&raw.bytes) < 16 * raw.bytes.len() + MIB, "{n_tokens} tokens");
    }
    // A tensor that claims to be larger than any file.
    let mut raw = Raw::new(b"lmgg", &[1, 16, 32, 2, 1, 4, 1, 1]);
    raw.token(b"a").record("lm_head.weight", &[1 << 30, 1 << 30], 0).raw(&[0; 64]);
    assert!(peak(&raw.bytes) < MIB);
}
