use super::activations::{Arrangement, BLOCK, Column, GROUP, Group, SECTION, SECTION_LEN};
use super::kernels::{Form, Way};
use super::*;
use gristmill_quant::{CODECS, codec};
use gristmill_tensor::{Bytes, DType, Tensor, TensorInfo};

/// A small generator of repeatable numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Roughly normal, of unit variance.
    fn float(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32).sum();
        (sum - 2.0) * 3f32.sqrt()
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// A weight of random numbers, or of random finite blocks where the type cannot be quantized.
fn weight(dtype: DType, n_out: usize, n_in: usize, random: &mut Random) -> Matrix {
    let codec = codec(dtype).unwrap();
    let mut bytes = vec![0; n_out * dtype.row_bytes(n_in).unwrap()];
    if let Some(quantize) = codec.quantize {
        let values: Vec<f32> =
            random.floats(n_out * n_in).iter().map(|value| value * 0.1).collect();
        quantize(&values, &mut bytes);
    } else {
        let mut values = vec![0.0; dtype.block_len()];
        for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
            loop {
                block.iter_mut().for_each(|byte| *byte = random.next() as u8);
                (codec.dequantize)(block, &mut values);
                if values.iter().all(|value| value.abs() < 1e20) {
                    break;
                }
            }
        }
    }
    matrix(dtype, [n_out, n_in], bytes)
}

fn matrix(dtype: DType, shape: [usize; 2], bytes: Vec<u8>) -> Matrix {
    // One byte too far, so that nothing can rely on alignment.
    let shifted = Bytes::from([&[0], &bytes[..]].concat());
    let bytes = shifted.slice(1..shifted.len());
    Matrix::new(Tensor { info: TensorInfo::new("w", dtype, shape), bytes }).unwrap()
}

fn product(
    level: Level,
    team: &Team,
    weight: &Matrix,
    x: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    product_with(Activations::new(), level, team, weight, x, bias)
}

fn same_product(level: Level, team: &Team, weight: &Matrix, x: &[f32]) -> Vec<f32> {
    product_with(Activations::new().deterministic(true), level, team, weight, x, None)
}

fn product_with(
    mut activations: Activations,
    level: Level,
    team: &Team,
    weight: &Matrix,
    x: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    activations.load(team, x, weight.n_in());
    let mut y = vec![f32::NAN; x.len() / weight.n_in() * weight.n_out()];
    matmul_at(level, team, &mut activations, None, &mut [Product { weight, bias, y: &mut y }]);
    y
}

/// For each element of the product in f64: its value, the sum of the magnitudes of its terms, and how far it may be
/// off because each activation is rounded by up to half a step of the blocks that share its scale.
fn oracle(weight: &Matrix, x: &[f32]) -> Vec<[f64; 3]> {
    let n_in = weight.n_in();
    let mut steps = Vec::with_capacity(x.len());
    for section in x.chunks(n_in).flat_map(|x| x.chunks(SECTION_LEN)) {
        let mut amax = [0f32; GROUP];
        for (i, x) in section.iter().enumerate() {
            let amax = &mut amax[i / BLOCK % GROUP];
            *amax = amax.max(x.abs());
        }
        let step = |i: usize| f64::from(amax[i / BLOCK % GROUP]) / 127.0;
        steps.extend((0..section.len()).map(step));
    }
    let mut result = vec![[0.0; 3]; x.len() / n_in * weight.n_out()];
    let mut row = vec![0.0; n_in];
    for o in 0..weight.n_out() {
        weight.row_f32(o, &mut row);
        for t in 0..x.len() / n_in {
            let [mut sum, mut size, mut slack] = [0.0; 3];
            for i in 0..n_in {
                let (w, x) = (f64::from(row[i]), f64::from(x[t * n_in + i]));
                sum += w * x;
                size += (w * x).abs();
                slack += w.abs() * steps[t * n_in + i] * 0.5001;
            }
            result[t * weight.n_out() + o] = [sum, size, slack];
        }
    }
    result
}

/// The dtypes that products are tested for, with row lengths that they allow.
fn cases() -> impl Iterator<Item = (DType, usize)> {
    let types = CODECS.iter().map(|codec| codec.dtype);
    types.flat_map(|dtype| {
        // Blocks of 16 elements may end in the middle of 32, and just after a piece of 256.
        let lengths = [1, 5, 16, 31, 32, 48, 64, 96, 128, 250, 272, 576, 768, 1536, 4096];
        lengths
            .into_iter()
            .filter(move |n_in| n_in % dtype.block_len() == 0)
            .map(move |n_in| (dtype, n_in))
    })
}

#[test]
fn every_type_at_every_level_is_near_the_plain_formula() {
    let team = Team::new(2);
    let mut random = Random(1);
    for (dtype, n_in) in cases() {
        for (n_out, n_tokens) in
            [(1, 1), (7, 2), (16, 1), (17, 5), (33, 1), (33, 3), (50, 16), (64, 33)]
        {
            let weight = weight(dtype, n_out, n_in, &mut random);
            let x = random.floats(n_tokens * n_in);
            let bias = random.floats(n_out);
            let oracle = oracle(&weight, &x);
            for &level in Level::available() {
                let y = product(level, &team, &weight, &x, Some(&bias));
                let form = kernels_at(level, dtype).way(n_tokens, false).form;
                for (i, (&y, &[sum, size, slack])) in y.iter().zip(&oracle).enumerate() {
                    let expected = sum + f64::from(bias[i % n_out]);
                    let slack = match form {
                        Form::Int8 => slack,
                        // Half a step on both sides, in the worst case all of them the same way.
                        Form::Int16 => size * 1e-4 + slack * 127.0 / 4095.0,
                        // Half a step of eleven bits, or of eight.
                        Form::F16 => size / 2048.0,
                        Form::Bf16 => size / 256.0,
                        Form::F32 => 0.0,
                    };
                    let error = (f64::from(y) - expected).abs();
                    assert!(
                        error <= 2e-5 * (size + 1.0) + slack,
                        "{dtype} {level:?} [{n_out}, {n_in}] x {n_tokens}, element {i}: {y}, not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn integer_products_agree_with_the_quantized_activations_closely() {
    let team = Team::new(1);
    let mut random = Random(2);
    for (dtype, n_in) in
        cases().filter(|&(dtype, _)| kernels_at(Level::Portable, dtype).many.form == Form::Int8)
    {
        let weight = weight(dtype, 40, n_in, &mut random);
        for n_tokens in [1, 7] {
            let x = random.floats(n_tokens * n_in);
            let quantized: Vec<f32> = x.chunks(n_in).flat_map(round_trip).collect();
            let oracle = oracle(&weight, &quantized);
            for &level in Level::available() {
                let y = product(level, &team, &weight, &x, None);
                for (&y, [sum, size, _]) in y.iter().zip(&oracle) {
                    // The largest term is the minimum of a block, which the plain formula has in every weight.
                    assert!(
                        (f64::from(y) - sum).abs() <= 1e-5 * size + 1e-5,
                        "{dtype} {level:?}: {y}, not {sum}"
                    );
                }
            }
        }
    }
}

/// What a row is after its quantization.
fn round_trip(x: &[f32]) -> Vec<f32> {
    let mut groups = vec![Group::ZERO; x.len().div_ceil(512)];
    for (x, groups) in x.chunks(SECTION_LEN).zip(groups.chunks_mut(SECTION)) {
        crate::level::portable::quantize(x, groups);
    }
    let value = |i: usize| {
        let column = Column::of(&groups[i / 512], Arrangement::Quads, i / 32 % 16);
        column.d * f32::from(column.codes.as_flattened()[i % 32])
    };
    (0..x.len()).map(value).collect()
}

#[test]
fn activations_are_quantized_the_same_at_every_level() {
    let mut random = Random(3);
    for n_in in [32, 96, 512, 576, 4096] {
        let mut x = random.floats(n_in);
        x[3] = 0.5 * x[3].signum();
        x[n_in - 32..].fill(0.0);
        if n_in > 512 {
            x[100] = f32::NAN;
            x[200] = f32::INFINITY;
            x[256..288].fill(1e-38);
            x[288..320].fill(f32::MAX);
        }
        let quantize = |level| {
            let mut activations = Activations::new();
            activations.rows_mut(1, n_in).copy_from_slice(&x);
            let way = Way { kernel: |_, _, _| (), form: Form::Int8, tiles: None };
            activations.make(&Team::new(1), level, way, None);
            let blocks = activations
                .groups()
                .iter()
                .flat_map(|group| (0..16).map(|b| Column::of(group, Arrangement::of(level), b)));
            blocks.collect::<Vec<_>>()
        };
        let expected = quantize(Level::Portable);
        for &level in Level::available() {
            for (found, expected) in quantize(level).iter().zip(&expected) {
                assert_eq!(found.codes, expected.codes, "{level:?}");
                assert_eq!(found.init, expected.init, "{level:?}");
                assert_eq!(found.init_first, expected.init_first, "{level:?}");
                assert_eq!(found.d.to_bits(), expected.d.to_bits(), "{level:?}");
                assert_eq!(found.sum.to_bits(), expected.sum.to_bits(), "{level:?}");
            }
        }
    }
}

#[test]
fn results_are_the_same_for_every_number_of_threads() {
    let mut random = Random(4);
    for dtype in [
        DType::F32,
        DType::F16,
        DType::Q4_0,
        DType::Q4_0_V0,
        DType::Q4_2,
        DType::Q5_1,
        DType::Q8_0,
        DType::Q6_K,
    ] {
        let weight = weight(dtype, 777, 768, &mut random);
        for n_tokens in [1, 4, 9] {
            let x = random.floats(n_tokens * 768);
            for &level in Level::available() {
                let bits = |n_threads| -> Vec<u32> {
                    let y = product(level, &Team::new(n_threads), &weight, &x, None);
                    y.into_iter().map(f32::to_bits).collect()
                };
                let expected = bits(1);
                for n_threads in [2, 3, 8] {
                    assert_eq!(bits(n_threads), expected, "{dtype} {level:?} {n_threads} threads");
                }
            }
        }
    }
}

#[test]
fn a_token_has_the_same_result_whatever_the_others_are() {
    let team = Team::new(2);
    let mut random = Random(5);
    for dtype in CODECS.iter().map(|codec| codec.dtype) {
        let (n_in, n_out) = (4608 + dtype.block_len() % 256, 70);
        let weight = weight(dtype, n_out, n_in, &mut random);
        let x = random.floats(21 * n_in);
        for &level in Level::available() {
            let all = same_product(level, &team, &weight, &x);
            for n_tokens in 1..20 {
                let some = same_product(level, &team, &weight, &x[n_in..(1 + n_tokens) * n_in]);
                assert_eq!(
                    some,
                    all[n_out..(1 + n_tokens) * n_out],
                    "{dtype} {level:?} {n_tokens} tokens"
                );
            }
        }
    }
}

#[test]
fn the_longest_rows_are_summed_alike_too() {
    let team = Team::new(2);
    let mut random = Random(12);
    for dtype in [DType::Q4_0, DType::Q5_1, DType::Q6_K] {
        let (n_in, n_out) = (9 * SECTION_LEN + dtype.block_len(), 19);
        let weight = weight(dtype, n_out, n_in, &mut random);
        let x = random.floats(9 * n_in);
        for &level in Level::available() {
            let all = same_product(level, &team, &weight, &x);
            for n_tokens in [1, 3] {
                let some = same_product(level, &team, &weight, &x[..n_tokens * n_in]);
                assert_eq!(some, all[..n_tokens * n_out], "{dtype} {level:?} {n_tokens} tokens");
            }
        }
    }
}

#[test]
fn joined_products_are_those_of_each_alone() {
    let team = Team::new(2);
    let mut random = Random(6);
    let x = random.floats(3 * 256);
    let weights = [(DType::Q4_K, 64), (DType::Q4_0, 5), (DType::F16, 33)]
        .map(|(dtype, n_out)| weight(dtype, n_out, 256, &mut random));
    let mut ys = weights.each_ref().map(|weight| vec![0.0; 3 * weight.n_out()]);
    let mut activations = Activations::new();
    activations.load(&team, &x, 256);
    let mut products: Vec<Product<'_>> =
        weights.iter().zip(&mut ys).map(|(weight, y)| Product { weight, bias: None, y }).collect();
    matmul_joined(&team, &mut activations, None, &mut products);
    for (weight, y) in weights.iter().zip(ys) {
        assert_eq!(y, product(level(), &team, weight, &x, None));
    }
}

#[test]
fn a_norm_on_the_way_is_a_norm_before() {
    let team = Team::new(2);
    let mut random = Random(7);
    let (gain, shift) = (random.floats(576), random.floats(576));
    let norms = [Norm::rms(&gain, 1e-5), Norm::layer(&gain, Some(&shift), 1e-5)];
    for dtype in [DType::F32, DType::F16, DType::Q4_0, DType::Q4_2] {
        let weight = weight(dtype, 40, 576, &mut random);
        for &level in Level::available() {
            let mut activations = Activations::new();
            for n_tokens in [1, 3, 40] {
                let x = random.floats(n_tokens * 576);
                activations.load(&team, &x, 576);
                // One after the other on the same rows, so that nothing made for one may be left for the next.
                for norm in [None, Some(norms[0]), Some(norms[1]), None] {
                    let mut y = vec![0.0; n_tokens * 40];
                    let mut products = [Product { weight: &weight, bias: None, y: &mut y }];
                    matmul_at(level, &team, &mut activations, norm, &mut products);
                    let mut before = x.clone();
                    if let Some(norm) = norm {
                        norm.rows(&team, &x, &mut before);
                    }
                    let expected = product(level, &team, &weight, &before, None);
                    assert_eq!(y, expected, "{dtype} {level:?} {n_tokens} tokens, {norm:?}");
                }
            }
        }
    }
}

#[test]
fn the_largest_codes_do_not_saturate() {
    let team = Team::new(1);
    for (dtype, scale, minimum) in [
        (DType::Q4_0, Some(0), None),
        (DType::Q4_1, Some(0), Some(2)),
        (DType::Q5_0, Some(0), None),
        (DType::Q5_1, Some(0), Some(2)),
        (DType::Q8_0, Some(0), None),
    ] {
        for (low, sign) in
            [(0x00, 1.0), (0x00, -1.0), (0xff, 1.0), (0xff, -1.0), (0x80, 1.0), (0x7f, -1.0)]
        {
            let mut block = vec![low; dtype.block_bytes()];
            for at in [scale, minimum].into_iter().flatten() {
                block[at..at + 2].copy_from_slice(&half::f16::ONE.to_le_bytes());
            }
            let weight = matrix(dtype, [33, 32], block.repeat(33));
            let mut row = [0.0; 32];
            weight.row_f32(0, &mut row);
            // With one scale of one everywhere, all arithmetic is exact.
            let expected = row.iter().sum::<f32>() * 127.0 * sign;
            for &level in Level::available() {
                for n_tokens in [1, 2] {
                    let y =
                        product(level, &team, &weight, &[127.0 * sign; 64][..32 * n_tokens], None);
                    assert!(
                        y.iter().all(|&y| y == expected),
                        "{dtype} {level:?}: {}, not {expected}",
                        y[0]
                    );
                }
            }
        }
    }
}

#[test]
fn hostile_weights_give_numbers_or_nan_and_nothing_worse() {
    let team = Team::new(2);
    let x = Random(7).floats(3 * 512);
    for (dtype, _) in cases().filter(|&(_, n_in)| n_in == 768) {
        for byte in [0x00, 0x7c, 0x7f, 0x80, 0xff] {
            let weight = matrix(dtype, [35, 512], vec![byte; 35 * dtype.row_bytes(512).unwrap()]);
            for &level in Level::available() {
                for n_tokens in [1, 3] {
                    let y = product(level, &team, &weight, &x[..n_tokens * 512], None);
                    assert_eq!(y.len(), n_tokens * 35);
                    if byte == 0 && dtype != DType::MXFP4 {
                        assert!(y.iter().all(|&y| y == 0.0), "{dtype} {level:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_that_is_not_finite_does_not_touch_the_one_before() {
    // Rows end inside groups of blocks, so that kernels reach from the first row into the second.
    let team = Team::new(1);
    let mut random = Random(9);
    for (dtype, n_in) in cases().filter(|&(_, n_in)| [64, 576, 768].contains(&n_in)) {
        let row_bytes = dtype.row_bytes(n_in).unwrap();
        let first = weight(dtype, 1, n_in, &mut random);
        let two = [first.bytes(), &vec![0xff; row_bytes]].concat();
        let two = matrix(dtype, [2, n_in], two);
        for n_tokens in [1, 2, 3, 4, 8, 9] {
            let x = random.floats(n_tokens * n_in);
            for &level in Level::available() {
                let alone = same_product(level, &team, &first, &x);
                let both = same_product(level, &team, &two, &x);
                for (alone, both) in alone.iter().zip(both.chunks(2)) {
                    assert_eq!(*alone, both[0], "{dtype} {level:?} {n_in} x {n_tokens}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "w: the width of the activations")]
fn refuses_activations_of_another_width() {
    let team = Team::new(1);
    let weight = weight(DType::F32, 2, 3, &mut Random(8));
    let mut x = Activations::new();
    x.load(&team, &[0.0; 8], 4);
    matmul(&team, &weight, &mut x, None, &mut [0.0; 4]);
}
