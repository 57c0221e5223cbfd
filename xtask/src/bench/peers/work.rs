//! What is measured, and what comes out.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::Result;
use crate::shell::output_and_peak;

/// What is measured.
pub(in crate::bench) enum Work {
    /// Tokens per second of a prompt, and of decoding, both behind `n_depth` tokens.
    Speed { n_prompt: usize, n_gen: usize, n_depth: usize },
    /// Tokens per second of several texts continued together, each behind a prompt.
    Together { n_prompt: usize, n_gen: usize, n_parallel: usize },
    /// Seconds until the first token.
    Start,
    /// Seconds to quantize a model file to a type.
    Quantize(String),
    /// Seconds to convert a model to GGUF.
    Convert,
}

/// One measured number, and what it is.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Figure {
    /// As llama-bench calls it: `pp512`, `tg128 @ d4096`.
    pub(super) what: String,
    pub(super) unit: Unit,
    /// What the share is of.
    pub(super) limit: Option<String>,
    pub(super) reading: Reading,
}

/// What was read off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reading {
    pub(super) value: f64,
    /// How near it came to what the machine could do in that minute, where the program tells: 1 is the limit itself.
    pub(super) share: Option<f64>,
    /// The most memory that the program held, in bytes, where that was watched.
    pub(super) peak: Option<f64>,
}

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Tokens per second: more is better.
    Rate,
    /// Seconds: less is better.
    Time,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::Rate => "t/s",
            Unit::Time => "s",
        }
    }
}

impl Figure {
    /// Tokens per second, and nothing else known.
    pub(super) fn rate(what: String, value: f64) -> Figure {
        let reading = Reading { value, share: None, peak: None };
        Figure { what, unit: Unit::Rate, limit: None, reading }
    }

    /// How long a program takes, and how much memory.
    pub(super) fn timed(what: &str, command: &mut Command) -> Result<Vec<Figure>> {
        let started = Instant::now();
        let (_, peak) = output_and_peak(command)?;
        let value = started.elapsed().as_secs_f64();
        let reading = Reading { value, share: None, peak: peak.map(|bytes| bytes as f64) };
        Ok(vec![Figure { what: what.into(), unit: Unit::Time, limit: None, reading }])
    }
}

/// The rates in the JSON of a llama-bench, and those of our own that say how near they came to what limits them.
pub(super) fn speeds(text: &str) -> Result<Vec<Figure>> {
    let rows: Value = serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))?;
    let rows = rows.as_array().filter(|rows| !rows.is_empty()).ok_or("no results")?;
    let figure = |row: &Value| {
        let value = row["avg_ts"].as_f64().ok_or("a result without avg_ts")?;
        let mut figure = Figure::rate(name(row), value);
        figure.limit = row["limit"].as_str().map(Into::into);
        figure.reading.share = row["share"].as_f64();
        Ok(figure)
    };
    rows.iter().map(figure).collect()
}

/// What a row of llama-bench's JSON is of.
fn name(row: &Value) -> String {
    let count = |key: &str| row[key].as_u64().unwrap_or(0);
    let (n_prompt, n_gen) = (count("n_prompt"), count("n_gen"));
    // ik_llama.cpp's way of saying that only what stands behind the prompt was timed.
    if row["test"].as_str().is_some_and(|test| test.starts_with("tg") && test.contains("@pp")) {
        return format!("tg{n_gen} @ d{n_prompt}");
    }
    let mut name = match (n_prompt, n_gen) {
        (n, 0) => format!("pp{n}"),
        (0, n) => format!("tg{n}"),
        (pp, tg) => format!("pp{pp}+tg{tg}"),
    };
    if count("n_parallel") > 1 {
        name += &format!(" x {}", count("n_parallel"));
    }
    if count("n_depth") > 0 {
        name += &format!(" @ d{}", count("n_depth"));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_limits() {
        let text = r#"[{"n_prompt": 512, "n_gen": 0, "avg_ts": 30.5, "limit": "int8", "share": 0.65},
                       {"n_prompt": 0, "n_gen": 16, "n_depth": 64, "avg_ts": 8.25},
                       {"n_prompt": 64, "n_gen": 16, "avg_ts": 8.0, "test": "tg16@pp64"},
                       {"n_prompt": 0, "n_gen": 16, "n_parallel": 8, "avg_ts": 40.0}]"#;
        let figures = speeds(text).unwrap();
        let told: Vec<_> = figures.iter().map(|f| (f.what.as_str(), f.reading.value)).collect();
        let expected =
            [("pp512", 30.5), ("tg16 @ d64", 8.25), ("tg16 @ d64", 8.0), ("tg16 x 8", 40.0)];
        assert_eq!(told, expected);
        assert_eq!(
            (figures[0].limit.as_deref(), figures[0].reading.share),
            (Some("int8"), Some(0.65))
        );
        assert_eq!(figures[1].limit, None);
        assert!(speeds("[]").is_err() && speeds("oh").is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn time_and_memory_are_watched() {
        let figures = Figure::timed("sleep", Command::new("sleep").arg("0.1")).unwrap();
        let Reading { value, peak, .. } = figures[0].reading;
        assert!(value >= 0.1 && peak.is_some_and(|bytes| bytes > 0.0), "{figures:?}");
        assert!(Figure::timed("false", &mut Command::new("false")).is_err());
    }
}
