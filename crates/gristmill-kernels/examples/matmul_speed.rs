//! How fast products are on this machine: weights streamed per second for one token, operations per second for many.
//!
//! ```text
//! cargo run --release -p gristmill-kernels --example matmul_speed [threads] [type ...]
//! GRISTMILL_SIMD=avx2 cargo run …      to measure a lower level
//! ```
//!
//! Every line gives the median of its rounds and the best. The first lines are what this machine can do at most, in
//! the same minute: the yardstick for the others.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::{Duration, Instant};

use gristmill_kernels::roofline::{Arithmetic, Memory};
use gristmill_kernels::{Activations, Matrix, Team, level, matmul};
use gristmill_quant::codec;
use gristmill_tensor::{Bytes, DType, Tensor, TensorInfo};

const TYPES: &[DType] = &[
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q8_0,
    DType::F16,
    DType::BF16,
    DType::F32,
];

/// `[n_out, n_in]` of single-token products: larger than any cache, a model of medium size, small models.
const GEMV: &[(usize, usize)] = &[
    (49152, 4096),
    (4096, 4096),
    (1536, 576),
    (576, 1536),
    (262144, 576),
    (262144, 512),
    (98304, 1536),
];

/// `[n_out, n_in]` and tokens of the others.
const GEMM: &[(usize, usize, usize)] = &[
    (4096, 4096, 512),
    (11008, 4096, 512),
    (4096, 11008, 512),
    (1536, 576, 512),
    (576, 1536, 512),
    (4096, 4096, 128),
    (4096, 4096, 16),
    (4096, 4096, 4),
    (4096, 4096, 2),
];

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let n_threads = arguments.peek().and_then(|n| n.parse().ok());
    if n_threads.is_some() {
        arguments.next();
    }
    let named: Vec<DType> =
        arguments.map(|name| DType::from_name(&name).expect("a type")).collect();
    let types = if named.is_empty() { TYPES } else { &named };
    let team = Team::new(n_threads.unwrap_or(2));
    let only = std::env::var("ONLY").ok();
    let wanted = |n_out: usize, n_in: usize, n: usize| {
        only.as_ref().is_none_or(|o| *o == format!("{n_out},{n_in},{n}"))
    };
    println!("level {}, {} threads", level().name(), team.n_threads());

    let limit = |name: &str, rate: f64, unit| {
        println!("{name:32} {:>8} {unit:5} best {:8.1}", "", rate / 1e9);
    };
    let memory = Memory::new(&team, 256 << 20).unwrap();
    limit("plain read of memory", memory.read_bandwidth(&team), "GB/s");
    for arithmetic in [Arithmetic::Int8, Arithmetic::Int16, Arithmetic::F32] {
        limit(arithmetic.name(), arithmetic.peak(&team), "GOP/s");
    }
    for &dtype in types {
        for &(n_out, n_in) in GEMV {
            if !wanted(n_out, n_in, 1) {
                continue;
            }
            let weight = weight(dtype, n_out, n_in);
            let bytes = weight.bytes().len() as f64;
            measure(&team, &weight, 1, &format!("{dtype} [{n_out}, {n_in}] x 1"), bytes, "GB/s");
        }
        for &(n_out, n_in, n_tokens) in GEMM {
            if !wanted(n_out, n_in, n_tokens) {
                continue;
            }
            let weight = weight(dtype, n_out, n_in);
            let operations = 2.0 * (n_out * n_in * n_tokens) as f64;
            measure(
                &team,
                &weight,
                n_tokens,
                &format!("{dtype} [{n_out}, {n_in}] x {n_tokens}"),
                operations,
                "GOP/s",
            );
        }
    }
}

fn measure(team: &Team, weight: &Matrix, n_tokens: usize, name: &str, amount: f64, unit: &str) {
    let x: Vec<f32> =
        (0..n_tokens * weight.n_in()).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    let mut activations = Activations::new();
    let mut y = vec![0.0; n_tokens * weight.n_out()];
    report(name, amount, unit, || {
        // The quantization of the activations is part of the product.
        activations.load(team, &x, weight.n_in());
        matmul(team, weight, &mut activations, None, &mut y);
    });
}

/// Runs `job` for about a second and prints how much of `amount` it does per nanosecond.
fn report(name: &str, amount: f64, unit: &str, mut job: impl FnMut()) {
    job();
    let mut rounds = Vec::new();
    let start = Instant::now();
    while rounds.len() < 7
        || (start.elapsed() < Duration::from_millis(700) && rounds.len() < 20_000)
    {
        let round = Instant::now();
        job();
        rounds.push(round.elapsed());
    }
    rounds.sort_unstable();
    let rate = |time: Duration| amount / time.as_nanos() as f64;
    let (median, best) = (rate(rounds[rounds.len() / 2]), rate(rounds[0]));
    println!("{name:32} {median:8.1} {unit:5} best {best:8.1}");
}

/// Weights of which every 64 rows are alike, since quantizing is not what is measured.
fn weight(dtype: DType, n_out: usize, n_in: usize) -> Matrix {
    let n_rows = n_out.min(64);
    let values: Vec<f32> =
        (0..n_rows * n_in).map(|i| (i * 6151 % 2003) as f32 / 1000.0 - 1.0).collect();
    let mut rows = vec![0; n_rows * dtype.row_bytes(n_in).unwrap()];
    (codec(dtype).unwrap().quantize.expect("a type that can be made"))(&values, &mut rows);
    let bytes = Bytes::from(rows.repeat(n_out.div_ceil(n_rows)));
    Matrix::new(Tensor { info: TensorInfo::new("w", dtype, [n_out, n_in]), bytes }).unwrap()
}
