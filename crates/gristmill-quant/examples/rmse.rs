//! Measures how much each format that can be made here loses on weights drawn from a normal distribution.
//!
//! ```sh
//! cargo run --release -p gristmill-quant --example rmse
//! ```
//!
//! The weights have standard deviation 1, so the printed error is relative to it. They come from a fixed seed: the
//! table in `docs/quantization.md` is this program's output.
#![expect(clippy::print_stdout, reason = "printing the table is what this program is for")]

use gristmill_quant::{CODECS, ErrorStats};

const N_WEIGHTS: usize = 1 << 22;

fn main() {
    let weights = normal_weights(N_WEIGHTS);
    println!(
        "{:6}  {:>15}  {:>8}  {:>9}  {:>9}",
        "dtype", "bits per weight", "rmse", "max error", "1 - cosine"
    );
    for codec in CODECS {
        let Some(quantize) = codec.quantize else { continue };
        let mut bytes = vec![0; N_WEIGHTS / codec.dtype.block_len() * codec.dtype.block_bytes()];
        quantize(&weights, &mut bytes);
        let mut restored = vec![0.0; N_WEIGHTS];
        (codec.dequantize)(&bytes, &mut restored);

        let mut stats = ErrorStats::default();
        stats.accumulate(&weights, &restored);
        let bits = 8.0 * bytes.len() as f64 / N_WEIGHTS as f64;
        let (rmse, max, angle) = (stats.rmse(), stats.max(), 1.0 - stats.cosine());
        println!("{:6}  {bits:15}  {rmse:8.6}  {max:9.6}  {angle:10.2e}", codec.dtype);
    }
}

/// Standard normal numbers by the method of Box and Muller, over the generator SplitMix64 with seed 0.
fn normal_weights(n: usize) -> Vec<f32> {
    let mut state = 0u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let normal = |_| {
        ((-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32
    };
    (0..n).map(normal).collect()
}
