//! Damaged and malicious files: always an error or a well-formed model, never a panic, a hang or a large allocation.

use crate::common::{Raw, open, read_all, refusal};
use gristmill_tensor::{Checkpoint, Endian, Error};

/// A model with one of everything; its data ends the file, without the final padding.
fn small_model(version: u32, big: bool) -> Vec<u8> {
    let mut raw = Raw::new(version, big, version < 3);
    raw.counts(2, 6)
        .text_entry("general.architecture", b"llama")
        .u32_entry("general.alignment", 32);
    raw.string(b"flag").u32(7).raw(&[1]);
    raw.string(b"tokenizer.ggml.tokens").u32(9).u32(8).count(2).string(b"<s>").string(&[0xff]);
    raw.string(b"tokenizer.ggml.scores").u32(9).u32(6).count(2).f32(0.5).f32(-1.0);
    raw.string(b"big").u32(10).u64(1 << 40);
    raw.record("token_embd.weight", &[32, 2], 2, 0).record("norm", &[4], 0, 64).pad(32);
    raw.raw(&[7; 36]).pad(32).raw(&[1; 16]);
    raw.bytes
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    for version in 1..=3 {
        let bytes = small_model(version, false);
        read_all(&open(&bytes).unwrap());
        for len in 0..bytes.len() {
            assert!(
                open(&bytes[..len]).is_err(),
                "version {version} cut at {len} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn any_changed_byte_gives_an_error_or_a_well_formed_model() {
    for (version, big) in [(1, false), (2, false), (3, false), (3, true)] {
        let bytes = small_model(version, big);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                if let Ok(model) = open(&bytes) {
                    read_all(&model);
                }
            }
        }
    }
}

#[test]
fn every_count_may_lie() {
    let lies = [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 62, 1 << 61, 1 << 32, 1 << 24];
    for lie in lies {
        type Build<'a> = &'a dyn Fn(&mut Raw) -> &mut Raw;
        let files: [(&str, Build<'_>); 8] = [
            ("tensors", &|raw| raw.counts(lie, 0)),
            ("entries", &|raw| raw.counts(0, lie)),
            ("key", &|raw| raw.counts(0, 1).count(lie).raw(b"key")),
            ("text", &|raw| raw.counts(0, 1).string(b"key").u32(8).count(lie)),
            ("numbers", &|raw| raw.counts(0, 1).string(b"key").u32(9).u32(12).count(lie)),
            ("strings", &|raw| raw.counts(0, 1).string(b"key").u32(9).u32(8).count(lie)),
            ("name", &|raw| raw.counts(1, 0).count(lie).raw(b"name")),
            ("offset", &|raw| raw.counts(1, 0).record("x", &[8], 0, lie)),
        ];
        for (what, build) in files {
            let mut raw = Raw::v3();
            build(&mut raw);
            raw.raw(&[0; 256]);
            assert!(raw.open().is_err(), "{lie} {what}");
        }
    }
}

#[test]
fn shapes_that_overflow_or_vanish_are_refused() {
    let shapes: [&[u64]; 9] = [
        &[0],
        &[8, 0],
        &[u64::MAX],
        &[1 << 63],
        &[1 << 33, 1 << 33],
        &[1 << 32, 1 << 31, 2],
        &[1 << 61],
        &[1, 1, 1, 1, 1],
        &[1 << 16, 1 << 16, 1 << 16, 1 << 16],
    ];
    for ne in shapes {
        for dtype in [0, 1] {
            let mut raw = Raw::v3();
            raw.counts(1, 0).record("x", ne, dtype, 0).pad(32).raw(&[0; 256]);
            assert!(refusal(&raw).contains("tensor x"), "{ne:?}");
        }
    }
}

#[test]
fn a_row_that_is_not_whole_blocks_is_refused() {
    let mut raw = Raw::v3();
    raw.counts(1, 0).record("x", &[31, 32], 2, 0).pad(32).raw(&[0; 4096]);
    assert!(refusal(&raw).contains("whole Q4_0 blocks of 32"));
}

#[test]
fn a_tensor_without_dimensions_is_a_scalar() {
    let mut raw = Raw::v3();
    raw.counts(1, 0).record("x", &[], 0, 0).pad(32).f32(1.5);
    let model = raw.open().unwrap();
    assert_eq!(model.tensors()[0].shape.rank(), 0);
    assert_eq!(*model.tensor("x").unwrap().bytes, 1.5f32.to_le_bytes());
}

#[test]
fn alignments_that_break_sums_are_refused() {
    for alignment in [0, 1, 3, 4, 7, 48, 0x2_0000, 0x8000_0000, u32::MAX] {
        let mut raw = Raw::v3();
        raw.counts(1, 1)
            .u32_entry("general.alignment", alignment)
            .record("x", &[1], 0, 0)
            .pad(64)
            .raw(&[0; 64]);
        assert!(refusal(&raw).contains("power of two"), "{alignment}");
    }
    let mut raw = Raw::v3();
    raw.counts(0, 1).text_entry("general.alignment", b"32");
    assert!(refusal(&raw).contains("general.alignment"));
}

#[test]
fn types_that_cannot_be_read_say_why() {
    for (id, words) in [
        (4, "removed in May 2023"),
        (31, "Q4_0_4_4, a layout that is repacked at runtime now"),
        (36, "ik_llama.cpp"),
        (38, "repacked"),
        (43, "not assigned"),
        (99, "ik_llama.cpp"),
        (255, "ik_llama.cpp"),
        (u32::MAX, "not assigned"),
    ] {
        let mut raw = Raw::v3();
        raw.counts(1, 0).record("x", &[32], id, 0).pad(32).raw(&[0; 64]);
        let error = raw.open().err().unwrap();
        assert!(matches!(error, Error::Unsupported { .. }));
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn names_and_keys_occur_once_and_are_printable() {
    let tensor = |names: [&str; 2]| {
        let mut raw = Raw::v3();
        raw.counts(2, 0)
            .record(names[0], &[8], 0, 0)
            .record(names[1], &[8], 0, 32)
            .pad(32)
            .raw(&[0; 64]);
        raw
    };
    tensor(["a", "b"]).open().unwrap();
    assert!(refusal(&tensor(["a", "a"])).contains("tensor a occurs twice"));
    assert!(refusal(&tensor(["a", ""])).contains("0 bytes"));
    assert!(refusal(&tensor(["a", "b\u{1b}[2J"])).contains("control characters"));
    assert!(tensor(["a", &"n".repeat(63)]).open().is_ok());
    assert!(tensor(["a", &"n".repeat(64)]).open().is_err());

    let entries = |keys: [&str; 2]| {
        let mut raw = Raw::v3();
        raw.counts(0, 2).u32_entry(keys[0], 1).u32_entry(keys[1], 2);
        raw
    };
    entries(["a", "b"]).open().unwrap();
    assert!(refusal(&entries(["a", "a"])).contains("key a occurs twice"));
    assert!(refusal(&entries(["a", ""])).contains("0 bytes"));
    assert!(entries(["a", &"k".repeat(65_535)]).open().is_ok());
    assert!(entries(["a", &"k".repeat(65_536)]).open().is_err());
}

#[test]
fn tensors_that_overlap_or_are_off_the_alignment_are_refused() {
    let at = |offsets: [u64; 2]| {
        let mut raw = Raw::v3();
        raw.counts(2, 0).record("a", &[16], 0, offsets[0]).record("b", &[16], 0, offsets[1]);
        raw.pad(32).raw(&[0; 256]);
        raw
    };
    // Any order and gaps are fine.
    read_all(&at([128, 0]).open().unwrap());
    assert!(refusal(&at([0, 32])).contains("overlap"));
    assert!(refusal(&at([64, 64])).contains("overlap"));
    assert!(refusal(&at([0, 65])).contains("multiple of 32"));
    assert!(refusal(&at([0, 224])).contains("cut short"));
    assert!(refusal(&at([0, u64::MAX - 31])).contains("cut short"));
}

#[test]
fn values_that_do_not_exist_are_refused() {
    let value = |build: &dyn Fn(&mut Raw) -> &mut Raw| {
        let mut raw = Raw::v3();
        build(raw.counts(0, 1).string(b"key"));
        raw.raw(&[0; 64]);
        refusal(&raw)
    };
    assert!(value(&|raw| raw.u32(13)).contains("value type 13"));
    assert!(value(&|raw| raw.u32(9).u32(13).count(1)).contains("value type 13"));
    assert!(value(&|raw| raw.u32(9).u32(9).count(1)).contains("array of arrays"));
    assert!(value(&|raw| raw.u32(7).raw(&[2])).contains("not 0 or 1"));
    assert!(value(&|raw| raw.u32(9).u32(7).count(2).raw(&[1, 2])).contains("neither 0 nor 1"));
    assert!(value(&|raw| raw.u32(8).string(&[0xff])).contains("not UTF-8"));
}

#[test]
fn versions_and_magics_that_do_not_exist_are_refused() {
    for version in [0, 4, 99, 0x0400_0000, u32::MAX] {
        let mut raw = Raw::new(version, false, false);
        raw.counts(0, 0);
        assert!(refusal(&raw).contains("versions 1, 2 and 3"), "{version:x}");
    }
    assert!(open(b"FUGG\x03\0\0\0").is_err());
    let mut raw = Raw::new(3, true, false);
    raw.counts(0, 0);
    assert_eq!(raw.open().unwrap().endian(), Endian::Big);
}

#[test]
fn known_keys_of_the_wrong_type_are_refused() {
    for key in
        ["general.architecture", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token"]
    {
        let mut raw = Raw::v3();
        raw.counts(0, 1).string(key.as_bytes()).u32(6).f32(1.0);
        assert!(refusal(&raw).contains(key));
    }
    for n_layer in [0, 513, u32::MAX] {
        let mut raw = Raw::v3();
        raw.counts(0, 2)
            .text_entry("general.architecture", b"mpt")
            .u32_entry("mpt.block_count", n_layer);
        assert!(refusal(&raw).contains("mpt.block_count"));
    }
}

#[test]
fn vocabularies_that_do_not_agree_are_refused() {
    let vocabulary = |n_scores: u64, n_rows: u64| {
        let mut raw = Raw::v3();
        raw.counts(1, 2);
        raw.string(b"tokenizer.ggml.tokens").u32(9).u32(8).count(2).string(b"a").string(b"b");
        raw.string(b"tokenizer.ggml.scores").u32(9).u32(6).count(n_scores);
        for _ in 0..n_scores {
            raw.f32(0.0);
        }
        raw.record("token_embd.weight", &[1, n_rows], 0, 0).pad(32).raw(&[0; 64]);
        raw
    };
    vocabulary(2, 2).open().unwrap();
    vocabulary(2, 3).open().unwrap();
    assert!(refusal(&vocabulary(1, 2)).contains("1 values for 2 tokens"));
    assert!(refusal(&vocabulary(2, 1)).contains("2 tokens share token_embd.weight of 1 rows"));
}
