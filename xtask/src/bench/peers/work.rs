//! What is measured, and how each engine is asked for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::Result;
use crate::shell::{all_output, output, target};

/// Who works.
pub(super) struct Engine {
    pub(super) name: String,
    kind: Kind,
}

enum Kind {
    /// Our program.
    Ours(PathBuf),
    /// A folder with llama.cpp's programs, options for its llama-bench, and environment variables.
    Peer { folder: PathBuf, options: Vec<String>, variables: Vec<(String, String)> },
    /// The system's `cp`: the least that writing a model can cost.
    Cp,
}

impl Engine {
    pub(super) fn ours(program: PathBuf) -> Engine {
        Engine { name: "gristmill".into(), kind: Kind::Ours(program) }
    }

    pub(super) fn peer(name: &str, folder: PathBuf) -> Engine {
        let kind = Kind::Peer { folder, options: Vec::new(), variables: Vec::new() };
        Engine { name: name.into(), kind }
    }

    pub(super) fn cp() -> Engine {
        Engine { name: "cp".into(), kind: Kind::Cp }
    }

    /// `NAME=DIR`, then options and variables.
    pub(super) fn parse(text: &str) -> Result<Engine> {
        let mut words = text.split_whitespace();
        let first = words.next().and_then(|word| word.split_once('='));
        let (name, folder) = first.ok_or("--peer takes NAME=DIR")?;
        let (mut options, mut variables) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some((key, value)) if !key.starts_with('-') => {
                    variables.push((key.into(), value.into()));
                }
                _ => options.push(word.into()),
            }
        }
        let folder = std::path::absolute(folder).map_err(|error| format!("{folder}: {error}"))?;
        let kind = Kind::Peer { folder, options, variables };
        Ok(Engine { name: name.into(), kind })
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Ours(_))
    }

    /// One of its programs.
    fn program(&self, theirs: &str) -> Result<Command> {
        Ok(match &self.kind {
            Kind::Ours(program) => Command::new(program),
            Kind::Peer { folder, variables, .. } => {
                let mut command = Command::new(folder.join(theirs));
                // Some leave logs where they run.
                command.current_dir(scratch()?);
                command.envs(variables.iter().map(|(key, value)| (key, value)));
                command
            }
            Kind::Cp => Command::new("cp"),
        })
    }

    /// Its `bench`, which all have, on a model.
    fn bench(&self, model: &Path, threads: &str) -> Result<Command> {
        let mut command = self.program("llama-bench")?;
        match &self.kind {
            Kind::Peer { options, .. } => command.args(options),
            _ => command.arg("bench"),
        };
        command.arg("-m").arg(model).args(["-o", "json", "-r", "1"]);
        command.args(["-t", threads]);
        Ok(command)
    }
}

/// What is measured.
pub(super) enum Work {
    /// Tokens per second of a prompt, and of decoding.
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

/// One measured number.
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: Unit,
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

impl Work {
    /// Whether other engines do it.
    pub(super) fn has_peers(&self) -> bool {
        !matches!(self, Work::Convert)
    }

    /// One sample.
    pub(super) fn measure(
        &self,
        engine: &Engine,
        model: &Path,
        n_threads: usize,
    ) -> Result<Vec<Figure>> {
        let threads = n_threads.to_string();
        match self {
            &Work::Speed { n_prompt, n_gen, n_depth } => {
                let mut command = engine.bench(model, &threads)?;
                command.args(["-p", &n_prompt.to_string(), "-n", &n_gen.to_string()]);
                // Older programs do not know the option.
                if n_depth > 0 {
                    command.args(["-d", &n_depth.to_string()]);
                }
                speeds(&output(&mut command)?)
            }
            &Work::Together { n_prompt, n_gen, n_parallel } => {
                let n_ctx = (n_parallel * (n_prompt + n_gen)).to_string();
                let [n_prompt, n_gen, n_parallel] =
                    [n_prompt, n_gen, n_parallel].map(|n| n.to_string());
                if engine.is_ours() {
                    let mut command = engine.bench(model, &threads)?;
                    command.args([
                        "-p",
                        "0",
                        "-n",
                        &n_gen,
                        "-d",
                        &n_prompt,
                        "--batch",
                        &n_parallel,
                    ]);
                    return speeds(&output(&mut command)?);
                }
                let mut command = engine.program("llama-batched-bench")?;
                command.arg("-m").arg(model).args(["-t", &threads, "-c", &n_ctx]);
                command.args(["-npp", &n_prompt, "-ntg", &n_gen, "-npl", &n_parallel]);
                together(&all_output(&mut command)?)
            }
            Work::Start => {
                let mut command = engine.program("llama-bench")?;
                if engine.is_ours() {
                    command.arg("run").arg(model).args(["--tokens", "1", "-n", "1"]);
                    command.args(["--ignore-eos", "--temp", "0", "-q", "-t", &threads]);
                } else {
                    command.arg("-m").arg(model).args(["-p", "0", "-n", "1", "-r", "1"]);
                    command.args(["-t", &threads]);
                    command.args(no_warmup(engine)?);
                }
                timed("first token", &mut command)
            }
            Work::Quantize(outtype) => {
                let out = scratch()?.join("quantized.gguf");
                let mut command = engine.program("llama-quantize")?;
                if engine.is_ours() {
                    command.arg("quantize").arg(model).arg(&out).arg(outtype);
                    command.args(["--force", "-q", "--allow-requantize", "-t", &threads]);
                } else {
                    command.arg("--allow-requantize").arg(model).arg(&out);
                    command.args([outtype.to_uppercase(), threads]);
                }
                timed(&format!("to {outtype}"), &mut command)
            }
            Work::Convert => {
                let out = scratch()?.join("converted");
                // Neither overwrites what is there.
                let _ = fs::remove_dir_all(&out);
                fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
                let mut command = engine.program("")?;
                if engine.is_ours() {
                    command
                        .arg("convert")
                        .arg(model)
                        .arg("-o")
                        .arg(&out)
                        .args(["-q", "-t", &threads]);
                } else {
                    command.arg("-r").arg(model).arg(&out);
                }
                timed("convert", &mut command)
            }
        }
    }
}

/// The rates in the JSON of a llama-bench.
fn speeds(text: &str) -> Result<Vec<Figure>> {
    let rows: Value = serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))?;
    let rows = rows.as_array().filter(|rows| !rows.is_empty()).ok_or("no results")?;
    let figure = |row: &Value| {
        let count = |key: &str| row[key].as_u64().unwrap_or(0);
        let mut what = match (count("n_prompt"), count("n_gen")) {
            (n, 0) => format!("pp{n}"),
            (0, n) => format!("tg{n}"),
            (pp, tg) => format!("pp{pp}+tg{tg}"),
        };
        if count("n_parallel") > 1 {
            what += &format!(" x {}", count("n_parallel"));
        }
        if count("n_depth") > 0 {
            what += &format!(" @ d{}", count("n_depth"));
        }
        let value = row["avg_ts"].as_f64().ok_or("a result without avg_ts")?;
        Ok(Figure { what, value, unit: Unit::Rate })
    };
    rows.iter().map(figure).collect()
}

/// The rate of decoding in the table of llama-batched-bench, which some versions print on standard error:
/// `| PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | …`.
fn together(text: &str) -> Result<Vec<Figure>> {
    let numbers = |line: &str| -> Vec<f64> {
        line.split('|').skip(1).map_while(|cell| cell.trim().parse().ok()).collect()
    };
    let rows: Vec<Vec<f64>> = text.lines().map(numbers).filter(|row| row.len() > 7).collect();
    let row = rows.last().ok_or("llama-batched-bench gave no results")?;
    let what = format!("tg{} x {} @ d{}", row[1], row[2], row[0]);
    Ok(vec![Figure { what, value: row[7], unit: Unit::Rate }])
}

/// The option by which a llama-bench leaves out its warm-up.
fn no_warmup(engine: &Engine) -> Result<&'static [&'static str]> {
    let help = output(engine.program("llama-bench")?.arg("--help"))?;
    Ok(if help.contains("--no-warmup") { &["--no-warmup"] } else { &["--warmup", "0"] })
}

/// Where results go that nobody keeps.
fn scratch() -> Result<PathBuf> {
    let folder = target().join("peers/out");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// How long a program takes.
fn timed(what: &str, command: &mut Command) -> Result<Vec<Figure>> {
    let started = Instant::now();
    output(command)?;
    let value = started.elapsed().as_secs_f64();
    Ok(vec![Figure { what: what.into(), value, unit: Unit::Time }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_from_both_programs() {
        let text = r#"[{"n_prompt": 512, "n_gen": 0, "avg_ts": 30.5},
                       {"n_prompt": 0, "n_gen": 16, "n_depth": 64, "avg_ts": 8.25}]"#;
        let figures = speeds(text).unwrap();
        let told: Vec<_> = figures.iter().map(|f| (f.what.as_str(), f.value)).collect();
        assert_eq!(told, [("pp512", 30.5), ("tg16 @ d64", 8.25)]);
        assert!(speeds("[]").is_err() && speeds("oh").is_err());

        let text = "loading | 2\n\
            |    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |\n\
            |-------|--------|------|--------|----------|----------|----------|----------|----------|\n\
            |    64 |      8 |    4 |    288 |    0.484 |   528.52 |    0.126 |   254.36 |    0.610 |\n";
        let figures = together(text).unwrap();
        assert_eq!((figures[0].what.as_str(), figures[0].value), ("tg8 x 4 @ d64", 254.36));
        assert!(together("loading").is_err());
    }

    #[test]
    fn a_peer_may_have_options_and_variables() {
        let engine = Engine::parse("ik=/bin/ik -rtr 1 OMP_WAIT_POLICY=active").unwrap();
        assert_eq!(engine.name, "ik");
        let Kind::Peer { folder, options, variables } = &engine.kind else { panic!("a peer") };
        assert_eq!((folder.as_path(), options.len()), (Path::new("/bin/ik"), 2));
        assert_eq!(variables[0], ("OMP_WAIT_POLICY".into(), "active".into()));
        assert!(Engine::parse("/bin/ik").is_err());
    }
}
