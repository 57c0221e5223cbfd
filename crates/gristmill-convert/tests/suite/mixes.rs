//! Which types the words for whole files mean, compared with what llama-quantize made of the same models.

use std::collections::BTreeMap;

use gristmill_convert::{ConvertOptions, OutType, Plan};
use gristmill_tensor::{DType, Metadata, TensorInfo, keys};
use gristmill_testkit::MemoryCheckpoint;

const GOLDEN: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/golden/mixes.txt"));

const LETTERS: [(DType, char); 13] = [
    (DType::Q2_K, '2'),
    (DType::Q3_K, '3'),
    (DType::Q4_K, '4'),
    (DType::Q5_K, '5'),
    (DType::Q6_K, '6'),
    (DType::Q8_0, '8'),
    (DType::IQ4_NL, 'n'),
    (DType::IQ4_XS, 'x'),
    (DType::Q4_0, 'a'),
    (DType::Q4_1, 'b'),
    (DType::Q5_0, 'c'),
    (DType::Q5_1, 'd'),
    (DType::F16, 'h'),
];

/// `key=value` pairs.
fn pairs(line: &str) -> BTreeMap<&str, &str> {
    line.split(' ').filter_map(|word| word.split_once('=')).collect()
}

/// The model that the first line of a paragraph describes, with the matrices that a further line has.
fn model(described: &str, matrices: &str) -> MemoryCheckpoint {
    let described = pairs(described);
    let number = |key: &str| described[key].parse::<usize>().unwrap();
    let arch = described["arch"];
    let mut metadata = Metadata::new("test");
    metadata.set(keys::ARCHITECTURE, arch);
    for (key, suffix) in [
        ("layers", keys::BLOCK_COUNT),
        ("heads", keys::HEAD_COUNT),
        ("kv", keys::HEAD_COUNT_KV),
        ("experts", "expert_count"),
    ] {
        metadata.set(keys::arch(arch, suffix), number(key) as u32);
    }
    let tensors = pairs(matrices).into_keys().flat_map(|name| {
        let row_len = number(if name.starts_with("ffn_down") { "ff" } else { "embd" });
        let in_layers = !matches!(name, "output" | "token_embd");
        (0..if in_layers { number("layers") } else { 1 }).map(move |layer| {
            let layer = if in_layers { format!("blk.{layer}.") } else { String::new() };
            TensorInfo::new(format!("{layer}{name}.weight"), DType::F16, [1, row_len])
        })
    });
    let stored = tensors.map(|info| (info.clone(), vec![0; info.n_bytes() as usize]));
    MemoryCheckpoint::new("test", metadata, stored)
}

/// The line that the golden file should have for this plan.
fn line(outtype: OutType, plan: &Plan) -> String {
    let mut letters: BTreeMap<&str, String> = BTreeMap::new();
    for info in plan.targets() {
        let name = info.name.strip_suffix(".weight").unwrap();
        let letter = LETTERS.iter().find(|(dtype, _)| *dtype == info.dtype).unwrap().1;
        letters.entry(name.rsplit('.').next().unwrap()).or_default().push(letter);
    }
    let file_type = plan.metadata.get_u32(keys::FILE_TYPE).unwrap().unwrap();
    let mut line = format!("{outtype} {file_type}");
    for (name, letters) in letters {
        let first = &letters[..1];
        let all_alike = letters.chars().all(|letter| first.starts_with(letter));
        line += &format!(" {name}={}", if all_alike { first } else { &letters });
    }
    line
}

#[test]
fn every_matrix_has_the_type_that_llama_quantize_gives_it() {
    let mut n_compared = 0;
    for paragraph in GOLDEN.split("\n\n").skip(1) {
        let (described, lines) = paragraph.split_once('\n').unwrap();
        for expected in lines.lines() {
            let outtype = OutType::from_name(expected.split(' ').next().unwrap()).unwrap();
            let options = ConvertOptions { outtype, ..ConvertOptions::default() };
            let plan = Plan::new(&model(described, expected), &options).unwrap();
            assert_eq!(line(outtype, &plan), expected, "{described}");
            n_compared += 1;
        }
    }
    let words = OutType::ALL.iter().filter(|o| o.dtype().unwrap().is_quantized()).count();
    assert_eq!(n_compared, 9 * words);
}
