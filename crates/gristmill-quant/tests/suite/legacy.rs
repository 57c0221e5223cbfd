//! Layouts of before May 2023: golden blocks, and ways between layouts.

use gristmill_quant::{codec, transcoding};
use gristmill_tensor::DType;
use proptest::prelude::*;

/// The beginning of the sequence that the golden blocks of today's formats were made from.
fn input() -> Vec<f32> {
    (0..32).map(|i| ((7 * i * i + 13 * i + 5) % 257 - 128) as f32 / 64.0).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn restored(dtype: DType, blocks: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; blocks.len() / dtype.block_bytes() * dtype.block_len()];
    (codec(dtype).unwrap().dequantize)(blocks, &mut values);
    values
}

fn made(dtype: DType, values: &[f32]) -> Vec<u8> {
    let mut blocks = vec![0; values.len() / dtype.block_len() * dtype.block_bytes()];
    codec(dtype).unwrap().quantize.unwrap()(values, &mut blocks);
    blocks
}

/// Computed from the formulas, scale by scale and nibble by nibble, apart from this crate.
const GOLDEN: [(DType, &str); 3] = [
    (DType::Q4_0_V0, "0000763e1074fbc5b2e449f1cddc1fa55f4c6dc1"),
    (DType::Q4_0_V1, "0000763ed0c1c4d7fb1f55acf25bc44ed96411cf"),
    (DType::Q4_1_V0, "0000803e0000f6bf1063fab5b2e449e1cddc1f955f4c6cc1"),
];

#[test]
fn makes_the_golden_blocks() {
    for (dtype, golden) in GOLDEN {
        assert_eq!(made(dtype, &input()), bytes_of(golden), "{dtype}");
    }
}

#[test]
fn restores_what_the_rule_before_april_2023_made() {
    // The scale was a seventh of the largest magnitude, so codes begin at 1; what they stand for is the same.
    let block = bytes_of("49928c3e2174fab5b3d459e2ccdc2e955e4c6cc1");
    let values = restored(DType::Q4_0_V0, &block);
    let d = f32::from_le_bytes(block[..4].try_into().unwrap());
    for (i, (value, x)) in values.iter().zip(input()).enumerate() {
        let code = (block[4 + i / 2] >> (4 * (i % 2))) & 15;
        assert_eq!(*value, (f32::from(code) - 8.0) * d);
        assert!((value - x).abs() <= d / 2.0 + 1e-6, "{value} for {x}");
    }
}

/// Every layout and today's form of it.
fn layouts() -> impl Iterator<Item = (DType, DType)> {
    DType::ALL.iter().filter_map(|&old| Some((old, old.successor()?)))
}

#[test]
fn every_layout_leads_to_todays_and_back() {
    for (old, today) in layouts() {
        let (there, back) = (transcoding(old, today).unwrap(), transcoding(today, old).unwrap());
        assert!(back.exact, "{today} to {old}: nothing is narrowed");
        assert_eq!(there.exact, old.block_bytes() == today.block_bytes(), "{old}");
    }
    assert!(transcoding(DType::Q4_0, DType::Q4_1).is_none());
    assert!(transcoding(DType::Q4_0, DType::Q4_0).is_none());
}

proptest! {
    #[test]
    fn codes_survive_every_way(values in prop::collection::vec(-9.0f32..9.0, 64)) {
        for (old, today) in layouts() {
            let blocks = made(today, &values);
            let mut widened = vec![0; 2 * old.block_bytes()];
            (transcoding(today, old).unwrap().apply)(&blocks, &mut widened);
            prop_assert_eq!(restored(old, &widened), restored(today, &blocks), "{}", old);
            let mut back = vec![0; blocks.len()];
            (transcoding(old, today).unwrap().apply)(&widened, &mut back);
            prop_assert_eq!(&back, &blocks, "{}", old);

            // Scale and minimum are each off by at most one part in 2048, and the codes multiply the scale's share.
            let blocks = made(old, &values);
            let mut narrowed = vec![0; 2 * today.block_bytes()];
            (transcoding(old, today).unwrap().apply)(&blocks, &mut narrowed);
            let range = 9.0 * 2.0;
            for (a, b) in restored(old, &blocks).iter().zip(restored(today, &narrowed)) {
                prop_assert!((a - b).abs() <= 2.0 * range / 2048.0, "{old}: {a} became {b}");
            }
        }
    }

    #[test]
    fn any_bytes_are_permuted_and_nothing_is_lost(blocks in prop::collection::vec(any::<u8>(), 44)) {
        let (old, today) = (DType::Q5_0_V0, DType::Q5_0);
        let (mut there, mut back) = (vec![0; 44], vec![0; 44]);
        (transcoding(old, today).unwrap().apply)(&blocks, &mut there);
        (transcoding(today, old).unwrap().apply)(&there, &mut back);
        // NaN scales may change their bits on the way through f32.
        let finite = |block: &[u8]| half::f16::from_le_bytes([block[0], block[1]]).is_finite();
        if blocks.chunks(22).all(finite) {
            prop_assert_eq!(back, blocks);
        }
    }
}
