//! Old versions, NULs at the end of strings, and big-endian files.

use crate::common::{Raw, refusal};
use gristmill_tensor::{Checkpoint, DType, Endian, MetaArray, MetaValue};

/// A small model: two texts, a list of tokens, and a float tensor of two rows.
fn model(version: u32, big: bool, nul: bool) -> Raw {
    let mut raw = Raw::new(version, big, nul);
    raw.counts(1, 3).text_entry("general.architecture", b"gptj").u32_entry("gptj.block_count", 2);
    raw.string(b"tokenizer.ggml.tokens").u32(9).u32(8).count(2).string(b"a").string(b"");
    raw.record("token_embd.weight", &[3, 2], 0, 0).pad(32);
    (1..=6u8).for_each(|value| {
        raw.f32(f32::from(value));
    });
    raw
}

#[test]
fn every_version_and_byte_order_tells_the_same() {
    for version in 1..=3 {
        for big in [false, true] {
            for nul in [false, true] {
                if nul && version == 3 {
                    continue;
                }
                let model = model(version, big, nul).open().unwrap();
                let metadata = model.metadata();
                assert_eq!(model.version(), version);
                assert_eq!(model.endian() == Endian::Big, big);
                assert_eq!(metadata.get_str("general.architecture").unwrap(), Some("gptj"));
                assert_eq!(metadata.get_usize("gptj.block_count").unwrap(), Some(2));
                assert_eq!(
                    metadata.get_strings("tokenizer.ggml.tokens").unwrap().unwrap(),
                    ["a", ""]
                );
                let info = &model.tensors()[0];
                assert_eq!(
                    (info.name.as_str(), info.shape.dims()),
                    ("token_embd.weight", &[2, 3][..])
                );
                let rows = model.read("token_embd.weight", 1..2).unwrap();
                assert_eq!(*rows, [4f32, 5.0, 6.0].map(f32::to_le_bytes).concat());
            }
        }
    }
}

#[test]
fn version_3_keeps_a_nul_that_is_part_of_a_text() {
    let mut raw = Raw::v3();
    raw.counts(0, 1).text_entry("key", b"text\0");
    assert_eq!(raw.open().unwrap().metadata().get_str("key").unwrap(), Some("text\0"));
}

#[test]
fn only_one_nul_is_stripped_and_a_token_of_one_nul_survives_among_others() {
    let mut raw = Raw::new(2, false, false);
    raw.counts(0, 2).text_entry("key", b"text\0\0");
    raw.string(b"tokens").u32(9).u32(8).count(2).string(b"\0").string(b"b");
    let model = raw.open().unwrap();
    assert_eq!(model.metadata().get_str("key").unwrap(), Some("text\0"));
    assert_eq!(model.metadata().get_strings("tokens").unwrap().unwrap(), ["\0", "b"]);
}

#[test]
fn tokens_that_are_not_text_are_kept_as_bytes() {
    let mut raw = Raw::v3();
    raw.counts(0, 1).string(b"tokens").u32(9).u32(8).count(2).string(b"a").string(&[0xe2, 0x96]);
    let expected = MetaArray::Bytes(vec![b"a".to_vec(), vec![0xe2, 0x96]]);
    assert_eq!(raw.open().unwrap().metadata().get("tokens"), Some(&MetaValue::Array(expected)));
}

#[test]
fn numbers_of_every_width_are_swapped() {
    let mut raw = Raw::new(3, true, false);
    raw.counts(0, 3);
    raw.string(b"f").u32(12).raw(&2.5f64.to_be_bytes());
    raw.string(b"i").u32(3).raw(&(-2i16).to_be_bytes());
    raw.string(b"u").u32(9).u32(10).count(1).raw(&7u64.to_be_bytes());
    let model = raw.open().unwrap();
    assert_eq!(model.metadata().get("f"), Some(&MetaValue::F64(2.5)));
    assert_eq!(model.metadata().get("i"), Some(&MetaValue::I16(-2)));
    assert_eq!(model.metadata().get("u"), Some(&MetaValue::Array(MetaArray::U64(vec![7]))));
}

#[test]
fn in_blocks_only_the_wide_fields_are_swapped() {
    // d and dmin of Q4_K, big-endian, then codes that stay as they are.
    let mut raw = Raw::new(3, true, false);
    raw.counts(1, 0).record("x", &[256], DType::Q4_K.ggml_id().unwrap(), 0).pad(32);
    raw.raw(&[1, 2, 3, 4]).raw(&[9; 140]);
    let bytes = raw.open().unwrap().tensor("x").unwrap().bytes;
    assert_eq!(bytes[..6], [2, 1, 4, 3, 9, 9]);
}

#[test]
fn blocks_without_a_defined_big_endian_form_are_refused() {
    for dtype in [DType::Q5_0, DType::Q5_1, DType::IQ2_XXS, DType::IQ3_S, DType::IQ1_M, DType::Q8_K]
    {
        let mut raw = Raw::new(3, true, false);
        raw.counts(1, 0).record("x", &[256], dtype.ggml_id().unwrap(), 0).pad(32).raw(&[0; 4096]);
        let message = refusal(&raw);
        assert!(message.contains("tensor x") && message.contains("big-endian"), "{message}");
    }
}
