//! Damaged and malicious files: always an error or a well-formed model, never a panic, a hang or a large allocation.

use crate::common::{Raw, gptj, llama, open, open_as, read_all, refusal};
use gristmill_tensor::{DType, Error, keys};
use proptest::prelude::*;

/// A Falcon with merges, in GGCC.
fn falcon() -> Raw {
    let mut raw = Raw::new(b"ccgg", &[10, 3, 32, 2, 1, 1, 7, 2, 2]);
    raw.scored(b"a", 0.0).scored(b"b", 0.0).scored(b"ab", 0.0);
    raw.u32(2).token(b"a").token(b"b").token(b" a").token(b"b");
    raw.tensor("transformer.word_embeddings.weight", &[32, 3], 2, 54);
    raw.tensor("lm_head.weight", &[32, 3], 2, 54);
    raw
}

/// A LoRA adapter.
fn adapter() -> Raw {
    let mut raw = Raw::new(b"algg", &[1, 4, 8]);
    raw.tensor("layers.0.attention.wq.weight.loraA", &[4, 8], 0, 128);
    raw.tensor("layers.0.attention.wq.weight.loraB", &[4, 8], 1, 64);
    raw
}

fn all_kinds() -> [Raw; 4] {
    [gptj(), llama(), falcon(), adapter()]
}

#[test]
fn a_file_cut_at_any_byte_is_refused_unless_a_tensor_ends_there() {
    for raw in all_kinds() {
        let whole = raw.open().unwrap();
        read_all(&*whole);
        let mut n_readable = 0;
        for len in 0..raw.bytes.len() {
            let Ok(part) = open(&raw.bytes[..len]) else { continue };
            // No count tells that a tensor is missing; whoever needs it does.
            n_readable += 1;
            assert_eq!(part.tensors(), &whole.tensors()[..n_readable], "cut at {len}");
            read_all(&*part);
        }
        assert_eq!(n_readable, whole.tensors().len() - 1);
    }
}

#[test]
fn any_changed_byte_gives_an_error_or_a_well_formed_model() {
    for raw in all_kinds() {
        for at in 0..raw.bytes.len() {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut bytes = raw.bytes.clone();
                bytes[at] ^= flip;
                if let Ok(model) = open(&bytes) {
                    read_all(&*model);
                }
            }
        }
    }
}

#[test]
fn every_word_of_a_header_may_lie() {
    for (raw, n_words) in [(gptj(), 8), (llama(), 8), (falcon(), 9)] {
        for word in 1..=n_words {
            for lie in [u32::MAX, 1 << 31, 1 << 30, 1 << 24, 3_000_000, 0] {
                let mut bytes = raw.bytes.clone();
                bytes[4 * word..][..4].copy_from_slice(&lie.to_le_bytes());
                if let Ok(model) = open(&bytes) {
                    read_all(&*model);
                }
            }
        }
    }
    for (word, lie) in
        [(1, 0), (1, 1 << 22), (2, 0), (3, 0), (4, 5), (5, 513), (6, 5), (7, 3002), (8, 4)]
    {
        let mut bytes = gptj().bytes;
        bytes[4 * word..][..4].copy_from_slice(&u32::to_le_bytes(lie));
        let error = open_as(&bytes, Some("gptj")).err().unwrap().to_string();
        assert!(error.contains(" would be "), "word {word}: {error}");
    }
}

#[test]
fn every_number_of_a_record_may_lie() {
    let of = |name: &str, ne: &[u32], id: u32, n_bytes: usize| {
        let mut raw = Raw::new(b"lmgg", &[1, 16, 32, 2, 1, 4, 2002, 1]);
        raw.token(b"a").tensor(name, ne, id, n_bytes);
        open_as(&raw.bytes, Some("gptj")).map(|model| read_all(&*model))
    };
    let name = "lm_head.weight";
    of(name, &[32], 2, 18).unwrap();
    let refused = |ne: &[u32], id, words: &str| {
        let error = of(name, ne, id, 64).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("tensor 0"), "{ne:?} {id}: {error}");
    };
    refused(&[], 0, "0 dimensions");
    refused(&[1, 1, 1, 1, 1], 0, "5 dimensions");
    refused(&[0], 0, "has the shape");
    refused(&[8, 0], 0, "has the shape");
    refused(&[31], 2, "not whole Q4_0 blocks");
    refused(&[u32::MAX], 0, "more than are left");
    refused(&[u32::MAX; 2], 0, "has the shape");
    refused(&[u32::MAX; 4], 0, "lm_head.weight");
    for id in [4, 5, 15, 30, 0x7fff_ffff, u32::MAX] {
        refused(&[32], id, &format!("type {id}"));
    }
    let long = "x".repeat(256);
    for (name, words) in
        [("", "a name of 0 bytes"), (&*long, "a name of 256"), ("\u{1b}[2J", "\\u{1b}[2J")]
    {
        let error = of(name, &[1], 0, 4).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    let mut twice = gptj();
    twice.tensor("lm_head.weight", &[32, 3], 1, 192);
    assert!(refusal(&twice.bytes).contains("tensor lm_head.weight occurs twice"));
    let mut empty = Raw::new(b"lmgg", &[1, 16, 32, 2, 1, 4, 1, 1]);
    empty.token(b"a");
    let error = open_as(&empty.bytes, Some("gptj")).err().unwrap().to_string();
    assert!(error.contains("before the first tensor"), "{error}");
}

#[test]
fn tokens_are_at_most_as_long_as_they_are_anywhere() {
    let of = |len: usize| {
        let mut raw = Raw::new(b"lmgg", &[1, 16, 32, 2, 1, 4, 1, 1]);
        raw.token(&vec![b' '; len]).tensor("lm_head.weight", &[1, 1], 0, 4);
        raw
    };
    let open = |len| open_as(&of(len).bytes, Some("gptj"));
    assert!(open(4096).is_ok());
    assert!(open(4097).err().unwrap().to_string().contains("token 0 would have 4097 bytes"));
}

#[test]
fn merges_are_counted_twice_and_fewer_than_tokens() {
    let model = falcon().open().unwrap();
    let merges = model.metadata().get_strings(keys::TOKENIZER_MERGES).unwrap().unwrap();
    assert_eq!(merges, ["a b", "\u{120}a b"]);
    let with = |word: usize, count: u32| {
        let mut bytes = falcon().bytes;
        bytes[4 * word..][..4].copy_from_slice(&count.to_le_bytes());
        refusal(&bytes)
    };
    assert!(with(9, 4).contains("4 merges would make 3 tokens"));
    assert!(with(9, 1).contains("1 merges and 2 merges"));
}

#[test]
fn a_vocabulary_may_be_shorter_than_it_says() {
    for n_tokens in 0..3 {
        let mut raw = Raw::new(b"tjgg", &[3, 3, 32, 32, 2, 1, 16, 1]);
        (0..n_tokens).for_each(|_| {
            raw.scored(b"tok", 0.5);
        });
        raw.tensor("tok_embeddings.weight", &[32, 3], 1, 192).tensor("norm.weight", &[32], 0, 128);
        let model = raw.open().unwrap();
        let tokens = model.metadata().get_strings(keys::TOKENIZER_TOKENS).unwrap();
        assert_eq!(tokens.map_or(0, <[String]>::len), n_tokens);
        let scores = model.metadata().get_f32s(keys::TOKENIZER_SCORES).unwrap();
        assert_eq!(scores.map_or(0, <[f32]>::len), n_tokens);
        assert_eq!(model.metadata().get_u32("llama.vocab_size").unwrap(), Some(3));
        read_all(&*model);
    }
}

#[test]
fn an_adapter_is_read_as_one() {
    let model = adapter().open().unwrap();
    assert_eq!(model.format(), "GGLA v1 (llama.cpp LoRA adapter)");
    assert_eq!(model.metadata().get_str(keys::TYPE).unwrap(), Some("adapter"));
    assert_eq!(model.metadata().get_u32("adapter.lora.rank").unwrap(), Some(4));
    assert_eq!(model.metadata().get_f32("adapter.lora.alpha").unwrap(), Some(8.0));
    assert_eq!(model.tensors()[1].dtype, DType::F16);
    let mut weight = Raw::new(b"algg", &[1, 4, 8]);
    weight.tensor("norm.weight", &[1], 0, 4);
    assert!(refusal(&weight.bytes).contains("\"norm.weight\""));
}

#[test]
fn containers_that_hold_no_model_for_us_say_what_they_are() {
    for version in [100, 101] {
        let error = Raw::new(b"fmgg", &[version, 1, 2, 3]).open().err().unwrap();
        assert!(matches!(error, Error::Unsupported { .. }));
        assert!(error.to_string().contains("RWKV model of rwkv.cpp"), "{error}");
    }
    for (magic, version) in [(b"fmgg", 2), (b"tjgg", 0), (b"tjgg", 4), (b"ccgg", 9), (b"algg", 2)] {
        let error = refusal(&Raw::new(magic, &[version]).bytes);
        assert!(error.contains(&format!("version {version}")), "{error}");
    }
    assert!(refusal(b"GGUF\x03\0\0\0").contains("magic"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn edited_files_are_refused_or_well_formed(
        kind in 0usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let mut bytes = all_kinds()[kind].bytes.clone();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        if let Ok(model) = open(&bytes) {
            read_all(&*model);
        }
    }

    #[test]
    fn noise_behind_any_magic_is_refused_or_well_formed(
        magic in prop::sample::select(vec![&b"lmgg"[..], b"fmgg\x01\0\0\0", b"tjgg\x01\0\0\0", b"tjgg\x03\0\0\0", b"ccgg\x0a\0\0\0", b"mmgg", b"algg\x01\0\0\0"]),
        words in prop::collection::vec(prop_oneof![0u32..40, any::<u32>()], 0..60),
    ) {
        let mut bytes = magic.to_vec();
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        if let Ok(model) = open(&bytes) {
            read_all(&*model);
        }
    }
}
