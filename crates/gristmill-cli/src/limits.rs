//! How near a speed comes to what this machine can do at most.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::Duration;

use gristmill::graph::{Attention, Op};
use gristmill::kernels::roofline::{Arithmetic, Memory};
use gristmill::kernels::{CacheType, KvCache, Team};
use gristmill::tensor::DType;
use serde_json::{Value, json};

use crate::commands::doctor::read_bytes;
use crate::exit::{Result, at};
use crate::model::Loaded;

/// What a model asks of the machine.
pub(crate) struct Work {
    /// Bytes of the matrices that every decoded token reads.
    bytes: f64,
    /// What reads the keys and values of earlier tokens.
    attentions: Vec<Attention>,
    /// Operations per token of a prompt, attention not counted.
    operations: f64,
    /// Those of the head, which only the last token of a prompt needs.
    head_operations: f64,
    /// How most weights are multiplied with a prompt.
    arithmetic: Arithmetic,
}

/// The limits of this machine for a model, per second, measured now.
pub(crate) struct Limits {
    read: f64,
    compute: f64,
}

impl Limits {
    /// The better of two measurements: what disturbs one is no limit.
    pub(crate) fn or_better(self, other: Limits) -> Limits {
        Limits { read: self.read.max(other.read), compute: self.compute.max(other.compute) }
    }
}

/// A speed as a part of the limit that binds it.
pub(crate) struct Share {
    limit: &'static str,
    unit: &'static str,
    per_second: f64,
    /// 1 would be the limit itself.
    pub(crate) fraction: f64,
}

/// What limits are measured with. Keep it as long as anything is timed.
pub(crate) fn memory_to_read(n_threads: usize) -> Result<Memory> {
    Memory::new(&Team::new(n_threads), read_bytes()).map_err(at("memory to read"))
}

impl Work {
    /// What `loaded` asks for.
    pub(crate) fn of(loaded: &Loaded) -> Work {
        let program = loaded.model.program();
        let tensors = loaded.tensors();
        let (mut bytes, mut operations, mut head_operations) = (0, 0.0, 0.0);
        let mut bytes_of: BTreeMap<DType, u64> = BTreeMap::new();
        let mut attentions = Vec::new();
        for node in &program.nodes {
            let weight = match node.op {
                Op::Linear { weight, .. } => weight,
                Op::Attend { attention, .. } => {
                    attentions.push(attention);
                    continue;
                }
                _ => continue,
            };
            let decl = &program.weights[weight];
            if let Some(info) = tensors.iter().find(|info| info.name == decl.name) {
                bytes += info.n_bytes();
                *bytes_of.entry(info.dtype).or_default() += info.n_bytes();
            }
            // The last product is the head's.
            head_operations = 2.0 * decl.shape.iter().product::<usize>() as f64;
            operations += head_operations;
        }
        let commonest = bytes_of.into_iter().max_by_key(|&(_, bytes)| bytes);
        let arithmetic = commonest
            .and_then(|(dtype, _)| Arithmetic::of(dtype, usize::MAX))
            .unwrap_or(Arithmetic::F32);
        Work { bytes: bytes as f64, attentions, operations, head_operations, arithmetic }
    }

    /// What the machine can do of it, measured for some tenths of a second with [`memory_to_read`].
    pub(crate) fn limits(&self, n_threads: usize, memory: &Memory) -> Limits {
        let team = Team::new(n_threads);
        Limits { read: memory.read_bandwidth(&team), compute: self.arithmetic.peak(&team) }
    }

    /// Bytes of keys and values that a token reads, in the mean of `n_decoded` tokens after `n_before` others. Each sees
    /// itself, too.
    pub(crate) fn cached_bytes(&self, cache: CacheType, n_before: usize, n_decoded: usize) -> f64 {
        let n_positions = n_before as f64 + (n_decoded + 1) as f64 / 2.0;
        let of_layer = |attention: &Attention| {
            let Attention { n_head_kv, head_dim, window, .. } = *attention;
            let per_position = KvCache::bytes_per_position(n_head_kv, head_dim, cache);
            let n_seen = window.map_or(n_positions, |window| n_positions.min(window as f64));
            per_position.expect("there is such a cache") as f64 * n_seen
        };
        self.attentions.iter().map(of_layer).sum()
    }

    /// Decoding `rate` times per second, each time reading all weights (for one text or for several together) and
    /// `cached_bytes` of keys and values.
    pub(crate) fn decode(&self, limits: &Limits, cached_bytes: f64, rate: f64) -> Share {
        let fraction = (self.bytes + cached_bytes) * rate / limits.read;
        Share { limit: "read", unit: "GB/s", per_second: limits.read, fraction }
    }

    /// A prompt of `n_tokens` in `time`.
    pub(crate) fn prefill(&self, limits: &Limits, n_tokens: usize, time: Duration) -> Share {
        let done = self.operations * n_tokens as f64
            - self.head_operations * n_tokens.saturating_sub(1) as f64;
        let fraction = done / time.as_secs_f64() / limits.compute;
        let limit = self.arithmetic.name();
        Share { limit, unit: "GOP/s", per_second: limits.compute, fraction }
    }
}

impl Share {
    /// As `--json` has it.
    pub(crate) fn json(&self) -> Value {
        json!({ "limit": self.limit, "limit_per_second": self.per_second, "share": self.fraction })
    }
}

impl Display for Share {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Share { limit, unit, per_second, fraction } = self;
        write!(f, "{:.0} % of {:.0} {unit} {limit}", 100.0 * fraction, per_second / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_work_done_by_work_possible() {
        let attention = Attention {
            n_head: 4,
            n_head_kv: 2,
            head_dim: 64,
            scale: 1.0,
            alibi_max: None,
            window: None,
        };
        let work = Work {
            bytes: 1e9,
            attentions: vec![attention, Attention { window: Some(10), ..attention }],
            operations: 3e9,
            head_operations: 1e9,
            arithmetic: Arithmetic::Int8,
        };
        let limits = Limits { read: 50e9, compute: 1000e9 };
        assert_eq!(work.decode(&limits, 0.0, 25.0).to_string(), "50 % of 50 GB/s read");
        assert_eq!(work.decode(&limits, 1e9, 20.0).to_string(), "80 % of 50 GB/s read");
        // A key and a value for each of two heads, of all positions in one layer and of the window in the other.
        assert_eq!(work.cached_bytes(CacheType::F16, 95, 9), (2 * 2 * 64 * 2 * 110) as f64);
        let prompt = work.prefill(&limits, 100, Duration::from_millis(402));
        assert_eq!(prompt.to_string(), "50 % of 1000 GOP/s int8");
    }
}
