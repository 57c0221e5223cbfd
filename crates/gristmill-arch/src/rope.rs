//! The frequencies of the rotary embedding, and the ways to stretch them over longer contexts.
//!
//! Pair `i` of `n_rot / 2` turns by `base^(-2i / n_rot)` radians per position (Su et al., 2021). Models trained for
//! longer contexts than they began with slow the turning down:
//!
//! - *linear* (Chen et al., 2023): every frequency is divided by the factor;
//! - *llama3*: slow pairs are divided by the factor, fast ones stay, between them it is mixed. GGUF keeps the divisors
//!   as a tensor, `rope_freqs.weight`, computed on conversion;
//! - *yarn* (Peng et al., 2023): the same idea, with bounds given in turns per original context, and a slightly larger
//!   attention temperature;
//! - *dynamic*: frequencies that depend on the length of the text once it exceeds the original context, and are the
//!   plain ones below it. Cached keys make that dependency ill-defined, and llama.cpp has no word for it, so a model
//!   with it is taken as one of its original context, where both agree exactly.
//!
//! Everything is computed in double precision and rounded once.

use std::f64::consts::PI;

use gristmill_tensor::{Metadata, keys};
use serde_json::Value;

use crate::describe::decimal;
use crate::{Config, Description, Error, Hparams, Result};

/// How the rotary frequencies of a model are stretched.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// All frequencies are divided by `factor`.
    Linear {
        /// How many times longer the context became.
        factor: f32,
    },
    /// YaRN's mixture.
    Yarn {
        /// How many times longer the context became.
        factor: f32,
        /// Multiplies YaRN's own attention factor, `0.1 ln(factor) + 1`.
        attn_factor: f32,
        /// The context before stretching.
        n_ctx_orig: usize,
        /// Pairs that turn at least this often over the original context keep their frequency.
        beta_fast: f32,
        /// Pairs that turn at most this often are divided by `factor`.
        beta_slow: f32,
    },
}

impl RopeScaling {
    /// What the rotated dimensions are multiplied by.
    pub fn magnitude(&self) -> f32 {
        match *self {
            RopeScaling::None | RopeScaling::Linear { .. } => 1.0,
            RopeScaling::Yarn { factor, attn_factor, .. } => {
                (f64::from(attn_factor) * yarn_magnitude(factor.into(), 1.0)) as f32
            }
        }
    }

    /// The frequency of each pair, in radians per position. `factors` divide the plain frequencies first.
    pub(crate) fn inv_freq(&self, n_rot: usize, base: f32, factors: Option<&[f32]>) -> Vec<f32> {
        let plain = plain_inv_freq(n_rot, base).enumerate().map(|(i, frequency)| {
            frequency / factors.and_then(|factors| factors.get(i)).map_or(1.0, |&f| f.into())
        });
        match *self {
            RopeScaling::None => plain.map(|frequency| frequency as f32).collect(),
            RopeScaling::Linear { factor } => {
                plain.map(|frequency| (frequency / f64::from(factor)) as f32).collect()
            }
            RopeScaling::Yarn { factor, n_ctx_orig, beta_fast, beta_slow, .. } => {
                // The pair that makes `turns` turns over the original context.
                let pair_of = |turns: f32| {
                    n_rot as f64 * (n_ctx_orig as f64 / (f64::from(turns) * 2.0 * PI)).ln()
                        / (2.0 * f64::from(base).ln())
                };
                let low = pair_of(beta_fast).floor().max(0.0);
                let high = pair_of(beta_slow).ceil().min(n_rot as f64 - 1.0);
                let stretched =
                    |i: usize| ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                plain
                    .enumerate()
                    .map(|(i, frequency)| {
                        let ramp = stretched(i);
                        (frequency / f64::from(factor) * ramp + frequency * (1.0 - ramp)) as f32
                    })
                    .collect()
            }
        }
    }
}

fn plain_inv_freq(n_rot: usize, base: f32) -> impl Iterator<Item = f64> {
    (0..n_rot.div_ceil(2)).map(move |i| f64::from(base).powf(-2.0 * i as f64 / n_rot as f64))
}

/// `0.1 m ln(factor) + 1` (YaRN, section 3.4).
fn yarn_magnitude(factor: f64, m: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 }
}

/// The keys under which the scaling stands: `rope_parameters` since Transformers 5, `rope_scaling` before.
fn key(part: &str) -> String {
    format!("rope_parameters.{part}|rope_scaling.{part}")
}

/// The context before stretching, which some configurations tell at the top.
fn original_context() -> String {
    let part = "original_max_position_embeddings";
    format!("{}|{part}", key(part))
}

/// Which scaling a configuration asks for; `"default"` when none.
fn kind<'a>(config: &Config<'a>) -> Result<&'a str> {
    let kind = config.text(&format!("{}|{}", key("rope_type"), key("type")))?;
    match (kind, config.get(&key("factor"))) {
        (None, Some(_)) => Err(config.missing("rope_scaling.rope_type")),
        (kind, _) => Ok(kind.unwrap_or("default")),
    }
}

/// Translates the scaling of a configuration into GGUF's keys.
pub(crate) fn configure(config: &Config<'_>, arch: &str, metadata: &mut Metadata) -> Result<()> {
    let kind = kind(config)?;
    let factor = config.float(&key("factor"))?;
    let mut set = |suffix: &str, value: f32| metadata.set(keys::arch(arch, suffix), value);
    match kind {
        "default" | "none" | "dynamic" | "llama3" => return Ok(()),
        "linear" => {
            let factor = factor.ok_or_else(|| config.missing(&key("factor")))?;
            set(keys::ROPE_SCALING_FACTOR, factor);
        }
        "yarn" => {
            let original = config.count(&original_context())?;
            let n_ctx = config.needed_count("max_position_embeddings")?;
            let n_ctx_orig = original.unwrap_or(n_ctx);
            let factor = factor.unwrap_or(n_ctx as f32 / n_ctx_orig.max(1) as f32);
            set(keys::ROPE_SCALING_FACTOR, factor);
            for (part, suffix) in [
                ("beta_fast", keys::ROPE_SCALING_BETA_FAST),
                ("beta_slow", keys::ROPE_SCALING_BETA_SLOW),
            ] {
                if let Some(value) = config.float(&key(part))? {
                    set(suffix, value);
                }
            }
            let own = yarn_magnitude(factor.into(), 1.0);
            let wanted = yarn_attention_factor(config, factor.into())?;
            if wanted != own {
                set(keys::ROPE_SCALING_ATTN_FACTOR, (wanted / own) as f32);
            }
            config.only(&key("truncate"), &[Value::Bool(true)])?;
            metadata.set(keys::arch(arch, keys::ROPE_SCALING_ORIGINAL_CONTEXT), n_ctx_orig);
        }
        other => {
            let cure = "supported: default, linear, dynamic, llama3, yarn";
            return Err(config.unsupported("rope_type", &other.into(), cure));
        }
    }
    metadata.set(keys::arch(arch, keys::ROPE_SCALING_TYPE), kind);
    Ok(())
}

/// The attention factor by a configuration: given, or as the ratio of two magnitudes, or YaRN's own.
fn yarn_attention_factor(config: &Config<'_>, factor: f64) -> Result<f64> {
    if let Some(given) = config.double(&key("attention_factor"))? {
        return Ok(given);
    }
    let magnitude = |part: &str| -> Result<Option<f64>> {
        Ok(config
            .float(&key(part))?
            .filter(|&m| m != 0.0)
            .map(|m| yarn_magnitude(factor, m.into())))
    };
    Ok(match (magnitude("mscale")?, magnitude("mscale_all_dim")?) {
        (Some(scale), Some(all)) => scale / all,
        _ => yarn_magnitude(factor, 1.0),
    })
}

/// The divisors of Llama 3's scaling, one per pair; `None` for configurations with another scaling.
pub(crate) fn llama3_factors(
    config: &Config<'_>,
    n_rot: usize,
    base: f32,
) -> Result<Option<Vec<f32>>> {
    // Meta's params.json may only say that it is so; the defaults are the numbers in Meta's code.
    let meta = config.flag("use_scaled_rope")? == Some(true);
    if !meta && kind(config)? != "llama3" {
        return Ok(None);
    }
    let number = |part: &str, default: f32| -> Result<f64> {
        Ok(config.float(&key(part))?.unwrap_or(default).into())
    };
    let metas_factor = config.float("rope_scaling_factor")?.unwrap_or(8.0);
    let factor = number("factor", metas_factor)?;
    let (low, high) = (number("low_freq_factor", 1.0)?, number("high_freq_factor", 4.0)?);
    let n_ctx_orig = f64::from(config.count(&original_context())?.unwrap_or(8192));
    if !(factor > 0.0 && low > 0.0 && high > low && n_ctx_orig > 0.0) {
        let found = config.get("rope_parameters|rope_scaling").unwrap_or(&Value::Null);
        let rule = "llama3 needs a positive factor and low_freq_factor < high_freq_factor";
        return Err(config.bad("rope_scaling", found, rule));
    }
    let llama3 = Llama3 { factor, low, high, n_ctx_orig };
    Ok(Some(llama3.divisors(n_rot, base).collect()))
}

/// Llama 3's scaling: pairs that turn less than `low` times over the original context are divided by `factor`, those
/// that turn more than `high` times are kept.
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    n_ctx_orig: f64,
}

impl Llama3 {
    fn divisors(self, n_rot: usize, base: f32) -> impl Iterator<Item = f32> {
        plain_inv_freq(n_rot, base).map(move |frequency| {
            let turns = self.n_ctx_orig * frequency / (2.0 * PI);
            let kept = ((turns - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - kept) / self.factor + kept)) as f32
        })
    }
}

/// Writes the scaling for both versions of Transformers, the base of the frequencies being there already. Version 4 has
/// the base at the top, under `base_key`, and the scaling apart.
///
/// # Errors
/// [`Error::Unsupported`] when a file has divisors that are not those of Llama 3.
pub(crate) fn describe(
    hp: &Hparams,
    base_key: &str,
    description: &mut Description<'_>,
) -> Result<()> {
    let mut scaling: Vec<(&str, Value)> = Vec::new();
    match (&hp.rope_scaling, &hp.rope_factors) {
        (RopeScaling::None, None) => {}
        // Files that have both are refused when the configuration is read back.
        (_, Some(factors)) => {
            scaling.push(("rope_type", "llama3".into()));
            scaling.extend(llama3_numbers(hp, factors, description.origin())?);
        }
        (&RopeScaling::Linear { factor }, None) => {
            scaling.push(("rope_type", "linear".into()));
            scaling.push(("factor", decimal(factor)));
        }
        (&RopeScaling::Yarn { factor, attn_factor, n_ctx_orig, beta_fast, beta_slow }, None) => {
            scaling.push(("rope_type", "yarn".into()));
            scaling.push(("factor", decimal(factor)));
            scaling.push(("beta_fast", decimal(beta_fast)));
            scaling.push(("beta_slow", decimal(beta_slow)));
            if attn_factor != 1.0 {
                let given = f64::from(attn_factor) * yarn_magnitude(factor.into(), 1.0);
                scaling.push(("attention_factor", given.into()));
            }
            scaling.push(("original_max_position_embeddings", n_ctx_orig.into()));
        }
    }
    description.set(base_key, decimal(hp.rope_base));
    description.set("rope_parameters.rope_theta", decimal(hp.rope_base));
    if scaling.is_empty() {
        description.set("rope_parameters.rope_type", "default");
    }
    description.set("rope_scaling", Value::Null);
    for (part, value) in scaling {
        description.set(&format!("rope_parameters.{part}"), value.clone());
        description.set(&format!("rope_scaling.{part}"), value);
    }
    Ok(())
}

/// The numbers that give these divisors. The largest divisor is the factor; the others cannot be computed from the
/// divisors, but all published models have the same.
fn llama3_numbers(hp: &Hparams, factors: &[f32], file: &str) -> Result<[(&'static str, Value); 4]> {
    let factor = factors.iter().copied().fold(1.0, f32::max);
    let llama3 = Llama3 { factor: factor.into(), low: 1.0, high: 4.0, n_ctx_orig: 8192.0 };
    // Other converters compute in single precision.
    let near = |(a, &b): (f32, &f32)| (a - b).abs() <= 1e-5 * b;
    if !llama3.divisors(hp.n_rot, hp.rope_base).zip(factors).all(near) {
        return Err(Error::Unsupported {
            file: file.into(),
            key: crate::hparams::ROPE_FREQS.into(),
            found: "not what Llama 3's scaling gives for a context of 8192 tokens".into(),
            cure: "Transformers takes no divisors; keep the file in GGUF".into(),
        });
    }
    Ok([
        ("factor", decimal(factor)),
        ("low_freq_factor", 1.0.into()),
        ("high_freq_factor", 4.0.into()),
        ("original_max_position_embeddings", 8192.into()),
    ])
}
