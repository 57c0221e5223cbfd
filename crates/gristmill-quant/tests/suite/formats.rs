//! Properties of every codec: a row added to the table is tested here without further work, except for its share of
//! error.

use gristmill_quant::{CODECS, Codec, ErrorStats, codec, unfit_for_blocks};
use gristmill_tensor::DType;
use gristmill_testkit::Rng;
use proptest::collection::vec;
use proptest::prelude::*;

/// Codecs with blocks that can be made, each with the largest error allowed, as a share of the largest magnitude.
///
/// One half of a step (a whole one where the largest positive element may be clamped), and a little for the scales,
/// which have 11 bits.
const BUDGETS: &[(DType, f32)] = &[
    (DType::Q4_0, 1.0 / 8.0 + 0.001),
    (DType::Q4_1, 1.0 / 15.0 + 0.002),
    (DType::Q5_0, 1.0 / 16.0 + 0.001),
    (DType::Q5_1, 1.0 / 31.0 + 0.002),
    (DType::Q8_0, 0.5 / 127.0 + 0.0006),
    (DType::Q8_1, 0.5 / 127.0 + 0.0006),
    (DType::Q4_0_V0, 1.0 / 8.0 + 0.002),
    (DType::Q4_0_V1, 1.0 / 8.0 + 0.002),
    (DType::Q4_1_V0, 1.0 / 15.0 + 0.002),
    (DType::Q4_1_V1, 1.0 / 15.0 + 0.002),
    (DType::Q4_2, 1.0 / 8.0 + 0.002),
    (DType::Q4_3, 1.0 / 15.0 + 0.002),
    (DType::Q5_0_V0, 1.0 / 16.0 + 0.001),
    (DType::Q5_1_V0, 1.0 / 31.0 + 0.002),
    (DType::Q8_0_V1, 0.5 / 127.0 + 0.0006),
];

/// Codecs that search for the scales of least error, each with the root of the mean squared error that is allowed, as a
/// share of that of the values. No formula bounds the error of a single element there.
const SEARCHED: &[(DType, f32)] = &[
    (DType::Q2_K, 0.31),
    (DType::Q3_K, 0.16),
    (DType::Q4_K, 0.075),
    (DType::Q5_K, 0.038),
    (DType::Q6_K, 0.019),
    (DType::IQ4_NL, 0.082),
    (DType::IQ4_XS, 0.08),
    (DType::MXFP4, 0.12),
];

/// A whole number of blocks of every type.
const ROW: usize = 256;

/// Scales below the normal range of `f16` are off by up to 2^-25, and 127 of them make the largest code.
const SMALL_SCALE_ERROR: f32 = 128.0 / (1 << 25) as f32;

fn makers() -> impl Iterator<Item = &'static Codec> {
    CODECS.iter().filter(|codec| codec.quantize.is_some())
}

fn quantized(codec: &Codec, values: &[f32]) -> Vec<u8> {
    let mut blocks = vec![0xa5; codec.dtype.row_bytes(values.len()).expect("whole blocks")];
    codec.quantize.expect("can be made")(values, &mut blocks);
    blocks
}

fn restored(codec: &Codec, blocks: &[u8]) -> Vec<f32> {
    let mut values =
        vec![f32::NAN; blocks.len() / codec.dtype.block_bytes() * codec.dtype.block_len()];
    (codec.dequantize)(blocks, &mut values);
    values
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, x| x.abs().max(largest))
}

#[test]
fn every_block_format_that_can_be_made_has_a_budget() {
    for codec in makers().filter(|codec| codec.dtype.is_quantized()) {
        let mut budgets = BUDGETS.iter().chain(SEARCHED);
        assert!(budgets.any(|(dtype, _)| *dtype == codec.dtype), "{}", codec.dtype);
    }
}

#[test]
fn searches_find_small_errors_in_numbers_of_any_size() {
    let mut rng = Rng::new(5);
    for deviation in [0.01, 1.0, 100.0] {
        let values = rng.normals(64 * ROW, deviation);
        for &(dtype, allowed) in SEARCHED {
            let codec = codec(dtype).unwrap();
            let mut stats = ErrorStats::default();
            stats.accumulate(&values, &restored(codec, &quantized(codec, &values)));
            let share = stats.rmse() / stats.rms();
            assert!(share <= f64::from(allowed), "{dtype}: {share} of numbers around {deviation}");
        }
    }
}

#[test]
fn zeros_stay_zeros() {
    for codec in makers() {
        for zero in [0.0, -0.0] {
            assert_eq!(
                restored(codec, &quantized(codec, &[zero; ROW])),
                [0.0; ROW],
                "{}",
                codec.dtype
            );
        }
    }
}

#[test]
fn zero_blocks_of_signed_formats_have_negative_zero_scales() {
    for (dtype, code_bytes) in
        [(DType::Q4_0, vec![0x88; 16]), (DType::Q5_0, [vec![0xff; 4], vec![0; 16]].concat())]
    {
        let block = quantized(codec(dtype).unwrap(), &[0.0; 32]);
        assert_eq!(block, [vec![0x00, 0x80], code_bytes].concat(), "{dtype}");
    }
}

#[test]
fn of_two_equal_magnitudes_the_first_is_exact_and_the_other_clamped() {
    for (dtype, steps) in [(DType::Q4_0, 8.0), (DType::Q5_0, 16.0)] {
        for sign in [1.0, -1.0] {
            let mut values = [0.0; 32];
            (values[9], values[10]) = (sign, -sign);
            let codec = codec(dtype).unwrap();
            let restored = restored(codec, &quantized(codec, &values));
            assert_eq!(
                (restored[9], restored[10]),
                (sign, -sign * (steps - 1.0) / steps),
                "{dtype}"
            );
        }
    }
}

#[test]
fn eight_bit_codes_round_halves_away_from_zero() {
    let mut values = [0.0; 32];
    (values[0], values[1], values[2], values[3]) = (127.0, 2.5, -2.5, 0.499_999_97);
    let block = quantized(codec(DType::Q8_0).unwrap(), &values);
    assert_eq!(block[2..6], [127, 3, 253, 0]);
}

#[test]
fn values_too_small_for_a_scale_become_zeros() {
    for codec in makers().filter(|codec| codec.dtype.is_quantized()) {
        for tiny in [f32::from_bits(1), 1e-40, -1e-38] {
            let restored = largest(&restored(codec, &quantized(codec, &[tiny; ROW])));
            // Scales of single precision hold what half precision cannot.
            assert!(restored <= 2.0 * tiny.abs(), "{}", codec.dtype);
            let single = codec.dtype.successor().is_some();
            assert!(restored == 0.0 || single, "{}: {restored}", codec.dtype);
        }
    }
}

/// Ordinary magnitudes of weights.
fn scale() -> impl Strategy<Value = f32> {
    (-3..4i32).prop_map(|exponent| 10f32.powi(exponent))
}

fn row() -> impl Strategy<Value = Vec<f32>> {
    (1..5usize, scale())
        .prop_flat_map(|(n, scale)| vec((-1f32..1.0).prop_map(move |x| x * scale), ROW * n))
}

proptest! {
    #[test]
    fn errors_stay_within_the_budget(values in row()) {
        for &(dtype, share) in BUDGETS {
            let codec = codec(dtype).unwrap();
            let restored = restored(codec, &quantized(codec, &values));
            for (values, restored) in values.chunks(32).zip(restored.chunks(32)) {
                let allowed = share * largest(values) + SMALL_SCALE_ERROR;
                for (x, y) in values.iter().zip(restored) {
                    prop_assert!((x - y).abs() <= allowed, "{dtype}: {x} became {y}, allowed {allowed}");
                }
            }
        }
    }

    #[test]
    fn a_constant_block_is_restored_to_the_precision_of_its_scale(x in -1f32..1.0, scale in scale()) {
        let x = x * scale;
        for &(dtype, _) in BUDGETS {
            let codec = codec(dtype).unwrap();
            for y in restored(codec, &quantized(codec, &[x; 32])) {
                prop_assert!((x - y).abs() <= x.abs() / 2047.0 + SMALL_SCALE_ERROR, "{dtype}: {x} became {y}");
            }
        }
    }

    #[test]
    fn one_outlier_survives(index in 0..32usize, negative: bool, mut values in vec(-1f32..1.0, 32)) {
        let outlier = if negative { -100.0 } else { 100.0 };
        values[index] = outlier;
        for &(dtype, _) in BUDGETS {
            let codec = codec(dtype).unwrap();
            let y = restored(codec, &quantized(codec, &values))[index];
            prop_assert!((outlier - y).abs() <= 0.1, "{dtype}: {outlier} became {y}");
        }
    }

    #[test]
    fn quantizing_restored_values_changes_nothing(values in row()) {
        // A scale that rounds to zero may lose its sign.
        prop_assume!(values.chunks(32).all(|block| largest(block) > 1e-4));
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q5_0, DType::Q8_0] {
            let codec = codec(dtype).unwrap();
            let blocks = quantized(codec, &values);
            prop_assert_eq!(&quantized(codec, &restored(codec, &blocks)), &blocks, "{}", dtype);
        }
    }

    #[test]
    fn a_row_is_its_blocks_one_after_another(values in row()) {
        for codec in makers() {
            let pieces: Vec<u8> = values.chunks(codec.dtype.block_len()).flat_map(|x| quantized(codec, x)).collect();
            prop_assert_eq!(quantized(codec, &values), pieces, "{}", codec.dtype);
        }
    }

    #[test]
    fn any_values_and_any_bytes_are_survived(bits in vec(any::<u32>(), ROW), bytes in vec(any::<u8>(), 292)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        for codec in makers() {
            let values_again = restored(codec, &quantized(codec, &values));
            prop_assert_eq!(values_again.len(), values.len());
        }
        for codec in CODECS {
            let block = &bytes[..codec.dtype.block_bytes()];
            prop_assert_eq!(restored(codec, block).len(), codec.dtype.block_len());
        }
        let first = values.iter().position(|x| !x.is_finite() || x.abs() > 65504.0);
        prop_assert_eq!(unfit_for_blocks(&values), first);
    }
}
