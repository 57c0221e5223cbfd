//! Rotary frequencies against numbers computed from the formulas of Transformers' `modeling_rope_utils.py` in double
//! precision, for heads of 16.

use crate::common::run;
use gristmill_arch::Hparams;
use gristmill_graph::{Rope, RopeStyle};
use gristmill_testkit::{Options, tiny};

fn hparams(config: &str) -> gristmill_arch::Result<Hparams> {
    let options = Options { n_embd: 64, config: config.into(), ..Options::default() };
    Ok(run(tiny("llama", &options))?.0)
}

fn rope(config: &str) -> Rope {
    hparams(config).unwrap().rope(RopeStyle::Interleaved)
}

fn assert_frequencies(rope: &Rope, expected: &[f64; 8]) {
    for (found, expected) in rope.inv_freq.iter().zip(expected) {
        let off = (f64::from(*found) / expected - 1.0).abs();
        assert!(off < 2e-7, "{:?} is not {expected:?}", rope.inv_freq);
    }
    assert_eq!(rope.n_rot(), 16);
}

const PLAIN: [f64; 8] =
    [1.0, 3.162277660e-01, 1e-1, 3.162277660e-02, 1e-2, 3.162277660e-03, 1e-3, 3.162277660e-04];

#[test]
fn plain_frequencies_fall_geometrically() {
    assert_frequencies(&rope(""), &PLAIN);
    assert_eq!(rope("").scale, 1.0);
}

#[test]
fn both_spellings_of_the_base_are_read() {
    let expected = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7];
    assert_frequencies(&rope(r#""rope_theta": 100000000.0"#), &expected);
    let new = r#""rope_parameters": { "rope_type": "default", "rope_theta": 100000000.0 }"#;
    assert_frequencies(&rope(new), &expected);
}

#[test]
fn linear_scaling_divides_by_the_factor() {
    let linear = rope(r#""rope_scaling": { "type": "linear", "factor": 2.0 }"#);
    assert_frequencies(&linear, &PLAIN.map(|frequency| frequency / 2.0));
}

#[test]
fn dynamic_scaling_is_the_plain_one_within_the_original_context() {
    assert_frequencies(&rope(r#""rope_scaling": { "type": "dynamic", "factor": 4.0 }"#), &PLAIN);
}

#[test]
fn llama3_scaling_travels_as_a_tensor() {
    let config = r#""rope_theta": 500000.0, "rope_scaling": { "rope_type": "llama3", "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 }"#;
    let hp = hparams(config).unwrap();
    assert_eq!(hp.rope_factors.as_ref().unwrap()[..4], [1.0; 4]);
    assert_eq!(hp.rope_factors.as_ref().unwrap()[5..], [8.0; 3]);
    let expected = [
        1.000000000e+00,
        1.939227447e-01,
        3.760603093e-02,
        7.292664737e-03,
        5.248461610e-04,
        3.428102196e-05,
        6.647869871e-06,
        1.289173172e-06,
    ];
    assert_frequencies(&hp.rope(RopeStyle::Interleaved), &expected);
}

#[test]
fn llama3_scaling_under_the_new_keys_is_the_same() {
    let config = r#""rope_parameters": { "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 }"#;
    let expected = [
        1.000000000e+00,
        1.939227447e-01,
        3.760603093e-02,
        7.292664737e-03,
        4.295567966e-04,
        8.570255490e-06,
        1.661967468e-06,
        3.222932930e-07,
    ];
    assert_frequencies(&rope(config), &expected);
}

#[test]
fn yarn_mixes_and_strengthens() {
    let yarn = rope(
        r#""max_position_embeddings": 65536,
        "rope_scaling": { "type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096 }"#,
    );
    let expected = [
        1.000000000e+00,
        3.162277660e-01,
        1.000000000e-01,
        2.421118834e-02,
        5.312500000e-03,
        9.388011804e-04,
        6.250000000e-05,
        1.976423538e-05,
    ];
    assert_frequencies(&yarn, &expected);
    assert!((yarn.scale - 1.277_258_9).abs() < 1e-6, "{}", yarn.scale);
}

#[test]
fn yarns_bounds_and_attention_factor_may_be_given() {
    let given = r#""rope_parameters": { "rope_type": "yarn", "factor": 4.0, "beta_fast": 64, "beta_slow": 2,
        "rope_theta": 1000000.0, "original_max_position_embeddings": 32768, "attention_factor": 1.5 }"#;
    let expected = [
        1.000000000e+00,
        1.778279410e-01,
        3.162277660e-02,
        4.217559939e-03,
        5.000000000e-04,
        4.445698525e-05,
        7.905694150e-06,
        1.405853313e-06,
    ];
    assert_frequencies(&rope(given), &expected);
    assert!((rope(given).scale - 1.5).abs() < 1e-6);

    // Equal magnitudes cancel, as in DeepSeek's configurations.
    let ratio =
        given.replace(r#""attention_factor": 1.5"#, r#""mscale": 1.0, "mscale_all_dim": 1.0"#);
    assert!((rope(&ratio).scale - 1.0).abs() < 1e-6);
}

#[test]
fn other_scalings_are_refused_by_name() {
    for (config, part) in [
        (r#""rope_scaling": { "rope_type": "longrope", "factor": 2.0 }"#, "longrope"),
        (r#""rope_scaling": { "factor": 2.0 }"#, "rope_type"),
        (r#""rope_scaling": { "type": "linear" }"#, "factor"),
        (r#""rope_scaling": { "type": "linear", "factor": -1.0 }"#, "rope.scaling.factor"),
        (
            r#""rope_scaling": { "type": "llama3", "low_freq_factor": 4, "high_freq_factor": 4 }"#,
            "llama3",
        ),
        (r#""rope_parameters": { "partial_rotary_factor": 0.5 }"#, "partial_rotary_factor"),
    ] {
        let message = hparams(config).unwrap_err().to_string();
        assert!(message.contains(part), "{config}: {message}");
    }
}
