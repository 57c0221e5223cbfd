//! Blocks made by ggml itself, compared byte for byte.
//!
//! The input is a fixed sequence of 256 numbers; 32-element types use its beginning. For each type there are the
//! blocks of ggml's reference quantizer and the CRC-32 of what ggml restores from them. A second input is long and wild;
//! of its blocks only the CRC-32 is here.

use gristmill_quant::{CODECS, codec};
use gristmill_tensor::DType;
use gristmill_testkit::Rng;

fn input() -> Vec<f32> {
    (0..256).map(|i| ((7 * i * i + 13 * i + 5) % 257 - 128) as f32 / 64.0).collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn crc32_of_values(values: &[f32]) -> u32 {
    crc32(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

fn bytes_of(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_input_is_the_one_the_blocks_were_made_from() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32_of_values(&input()), 0x303a_fac8);
}

#[test]
fn makes_the_blocks_of_ggml() {
    for (dtype, _, golden) in GOLDEN {
        let Some(quantize) = codec(*dtype).unwrap().quantize else { continue };
        let mut block = vec![0; dtype.block_bytes()];
        quantize(&input()[..dtype.block_len()], &mut block);
        assert_eq!(hex(&block), *golden, "{dtype}");
    }
}

#[test]
fn restores_the_values_of_ggml() {
    for (dtype, crc, golden) in GOLDEN {
        let mut values = vec![0.0; dtype.block_len()];
        (codec(*dtype).unwrap().dequantize)(&bytes_of(golden), &mut values);
        assert_eq!(crc32_of_values(&values), *crc, "{dtype}: {values:?}");
    }
}

/// Numbers that bring every branch of the searches about, all made of whole numbers and powers of two, so that they are
/// the same everywhere: ordinary weights, weights on a grid, of one sign, nearly constant, sparse, equal, of magnitudes
/// far apart within a block and within a group, and too small for a scale.
fn wild() -> Vec<f32> {
    let mut rng = Rng::new(2023);
    let mut values = Vec::new();
    for number in 0..12 * 16 {
        let mut normal = || rng.normal();
        let mut block: Vec<f32> = match number % 12 {
            0 | 1 => (0..256).map(|_| normal() / 64.0).collect(),
            2 => (0..256).map(|_| (normal() * 4.0).round() / 4.0).collect(),
            3 => (0..256).map(|_| normal().abs()).collect(),
            4 => (0..256).map(|_| -normal().abs()).collect(),
            5 => (0..256).map(|_| 1.0 + normal() / 128.0).collect(),
            6 => (0..256).map(|_| -1.0 + normal() / 128.0).collect(),
            7 => (0..256).map(|_| if normal() > 2.0 { normal() } else { 0.0 }).collect(),
            8 => (0..8).flat_map(|_| [normal(); 32]).collect(),
            9 => (0..16).flat_map(|_| [normal(); 16]).collect(),
            10 => (0..256).map(|_| normal().signum()).collect(),
            _ => (0..256).map(|i| normal() * 0.5f32.powi(i % 32)).collect(),
        };
        if number / 12 % 4 == 3 {
            let groups = block.chunks_mut(16).enumerate();
            groups
                .for_each(|(i, group)| group.iter_mut().for_each(|x| *x *= 0.25f32.powi(i as i32)));
        }
        if number / 12 == 14 {
            block.iter_mut().for_each(|x| *x *= 0.5f32.powi(24));
        }
        values.append(&mut block);
    }
    // An odd number of blocks.
    values.extend([[0.0; 128], [-0.0; 128]].concat());
    values
}

#[test]
fn makes_the_blocks_of_ggml_from_wild_values() {
    let values = wild();
    assert_eq!(crc32_of_values(&values), WILD_INPUT, "the numbers that ggml was given");
    for (dtype, expected) in WILD {
        let mut blocks = vec![0; dtype.row_bytes(values.len()).unwrap()];
        codec(*dtype).unwrap().quantize.unwrap()(&values, &mut blocks);
        assert_eq!(crc32(&blocks), *expected, "{dtype}");
    }
    let made = CODECS.iter().filter(|c| c.quantize.is_some() && c.dtype.is_quantized());
    let made = made.filter(|codec| codec.dtype.ggml_id().is_some());
    // Q8_1 is made of activations, not of weights.
    assert_eq!(made.count(), WILD.len() + 1);
}

/// CRC-32 of [`wild`].
const WILD_INPUT: u32 = 0x105c_bea5;

/// Type, CRC-32 of the blocks that ggml makes of [`wild`].
const WILD: &[(DType, u32)] = &[
    (DType::Q4_0, 0x2bbe_f408),
    (DType::Q4_1, 0x69e2_5eac),
    (DType::Q5_0, 0x55bb_97c6),
    (DType::Q5_1, 0xefa6_521e),
    (DType::Q8_0, 0x3b6c_53f2),
    (DType::Q2_K, 0xc4bb_89a3),
    (DType::Q3_K, 0xf57b_8933),
    (DType::Q4_K, 0xaf1f_e240),
    (DType::Q5_K, 0x147e_73b8),
    (DType::Q6_K, 0xd760_7920),
    (DType::IQ4_NL, 0xc4aa_974e),
    (DType::IQ4_XS, 0x003b_ccd0),
    (DType::MXFP4, 0xc3ca_30dc),
];

/// Type, CRC-32 of the restored little-endian `f32` values, block.
const GOLDEN: &[(DType, u32, &str)] = &[
    (DType::Q4_0, 0x341b_61e8, "b033d0c1c4d7fb1f55acf25bc44ed96411cf"),
    (DType::Q4_1, 0x074f_bf00, "0034b0bfd0c1c3d6fa1f559bf25bc44ec96411ce"),
    (DType::Q5_0, 0xb82e_0eb9, "b02fb09a9f95a08397bde52fa937e5a6887ca2c9129e"),
    (DType::Q5_1, 0x6f7e_a89a, "be2fb0bfb09a9f95a08387ade52fa937e5a6887ca2c9129d"),
    (
        DType::Q8_0,
        0x72af_feb3,
        "bf238196b9ea2a79cc38a831be630dc68d6c514344547295cf1971cd42bc4de48946",
    ),
    (
        DType::Q8_1,
        0x72af_feb3,
        "bf23a13f8196b9ea2a79cc38a831be630dc68d6c514344547295cf1971cd42bc4de48946",
    ),
    (DType::IQ4_NL, 0x23dd_0a46, "d523e0d1d3e6fb1f44acf24cd33ed96301df"),
    (DType::MXFP4, 0x05a3_c661, "7d6f6f6e7b75f7dd357fd56ee762bdff67"),
    (
        DType::Q2_K,
        0xe429_beac,
        "\
         dbda9aa9fca99fdadbeddcfceb9aecedb41441a152934136b87e71071e152c0753bfdb3757c071e253c58b4d03d5dce73653\
         b32c5dcebf21a6a46a21f7ced5e13814638cf8598576a8591a9d56592f26682e3830",
    ),
    (
        DType::Q3_K,
        0x8c2a_559d,
        "\
         460ac276bbb3ea5fc4f56e5be9aabcd9335d09f7b77af60fb33a69f0c37a280f70b5ca1f3d1f0bf67ef57e83d0f2d18ffe32\
         ae76cb8dbf9dfbe75ed65ee3b19a3eb9741f2ecc3d669a139a66f0cfe1d6075bd06bc7c2b08fa3f50a9e1a817d1f93e10a36\
         65793a5130f00f03b2a4",
    ),
    (
        DType::Q4_K,
        0xaa07_9751,
        "\
         511cf927fcf7fafbfbf2fff9dfecbafc704123161a1e345b92da138df864f08e2ceb9b6c3e2114193e548bc30c66d03bed26\
         80fb66f3802fde9e6f3023162b30568db50e57c23db946e4934313e5c7ba6b3c0df1e4e8fd134a82ca248efa7603a1400fc0\
         9183767a7095bbf33b85ee590d45af0974f08d2bca894a1bfde0e4f90f356da5fe58c34fcb6907b67648290c",
    ),
    (
        DType::Q5_K,
        0xc537_688b,
        "\
         34182428fcf7fafafdf0fef6efcca9fd5c10d86c21b9f845deef7443f3b086c3610f5ba5e168845dc1683ba211687a5df083\
         472d152f6ab725b6380cf2c9f20d3ac838ca7e432a336eaa18980acda179cc5d10f7def6114fcd3dcf71463e3750ad0c8b0d\
         bf946c748dd9279617da9f76c7591ce2d9d1fb28850596390ef4ed0743910f914408eed6f02b78e7681adea41bab4f13f9f0\
         1c4795049537fcd0d9e31f6bdb5afeb1968f98c30f7efe80441a",
    ),
    (
        DType::Q6_K,
        0x4195_ed9c,
        "\
         40951ebbabce23ae7a7caf29c3a1b31b76a213d7df13a3778fe2826d9508c0c36e3ac2173815cf45788754fc5073602c6820\
         24149047ea1832d869364fe3632f6e5bf36e1f0c96f2937791fe9005166309bea1cd38ef5304ffa92f50400a83b7193b811d\
         eadb1f8521001367e1ae9dc038c29093d8600c0b1e751fcddd128a3534d84c2d9e0f49fa3472bc87c2d9e0c75fb3d73b5fcc\
         3dee5fc987400fd9d0eb3450b02f5ecdbc23e5ab6d22f8cdd6e30b2740afcb5af645c75a28af616a1c0589927863829d7b8d\
         717f88878f6e83802490",
    ),
    (
        DType::IQ4_XS,
        0x4a73_e311,
        "\
         1090cc00e1f11012e0d1d3e6fb1f44acf24cd33ed96401dfe71b5d9ecedeecead5a16e27f09910c65ee540ec7612e0af6e3e\
         2f2022467cb0b17d36f0a920d73ec1156accfe1e2e3d1d0dff0114397ec30c52dc34df5bf6b3b64200dfaf8f6f6173a8ddf1\
         289ff740fe55ef4af3902efcdbaa7b6c6e80b3da00246bb0f74fd831dd5803c17f3f1f0f",
    ),
    (
        DType::Q8_K,
        0x67d2_7317,
        "\
         040281bc7a664415d78c32ca54d140a1f3386e98b3c0bfb093672fe89431c041b61b72bdf82645575b513a14e09f4ef1860c\
         85ef4b9bdb0e3349524d3b1aebaf630ba530ae1d7ed2184f7996a4a496794f18d27e1dae30a50b63afeb1a3b4d5249330edb\
         9b4bef850c86f14e9fe0143a515b574526f8bd721bb641c03194e82f6793b0bfc0b3986e38f3a140d154ca328cd71544667a\
         8178623f0dcd7f24bb42be2a89d91c5077919c9988683c01b961fd8b0a7bdf357cb7e200101206ecc48f4af99a2cb12790ea\
         3775a7c9dee5dec9a77537ea9027b12c9af94a8fc4ec06121000e2b77c35df7b0a8bfd61b9013c6888999c9177501cd9892a\
         be42bb247fcd0d3f6278cf00b9fe78001c019f000101400064ff62ff3e01fdff99ff15ff71feaaffc001",
    ),
];
