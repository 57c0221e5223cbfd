//! `bench peers MODEL.gguf… [--peer NAME=DIR] [--rounds N] [-p N] [-n N] [-t N]`: gristmill beside other engines.
//!
//! llama.cpp is built from the source package of `llama-cpp-python`, once, below `target/peers`; `--peer` takes a
//! folder that holds another `llama-bench`. Rounds are interleaved (ours, theirs, ours, theirs, …) and what is
//! printed is the median of the per-round ratios with its quartiles: figures of different minutes are never compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::shell::{cargo, output, root, run as run_command};

/// What is measured, the same for every engine.
struct Settings {
    models: Vec<PathBuf>,
    peers: Vec<(String, PathBuf)>,
    rounds: usize,
    n_prompt: usize,
    n_gen: usize,
    n_threads: usize,
}

/// Tokens per second of one engine in one round.
#[derive(Clone, Copy)]
struct Speed {
    prefill: f64,
    decode: f64,
}

/// `peers …`.
pub(crate) fn run(arguments: &[String]) -> Result {
    let mut settings = parse(arguments)?;
    if settings.peers.is_empty() {
        settings.peers.push(("llama.cpp".into(), llama_cpp()?));
    }
    run_command(&mut cargo(&["build", "--release", "--package", "gristmill-cli"]))?;
    let ours = root().join("target/release/gristmill");
    println!(
        "{} rounds, {} threads, {} prompt tokens, {} generated",
        settings.rounds, settings.n_threads, settings.n_prompt, settings.n_gen
    );
    println!("| model | work | ours t/s | peer | theirs t/s | ratio (quartiles) |");
    println!("|---|---|---|---|---|---|");
    for model in &settings.models {
        for (name, folder) in &settings.peers {
            let mut rounds = Vec::new();
            for _ in 0..settings.rounds {
                rounds.push((
                    measure_ours(&ours, model, &settings)?,
                    measure_llama_bench(folder, model, &settings)?,
                ));
            }
            report(model, name, "prefill", &rounds, |speed| speed.prefill);
            report(model, name, "decode", &rounds, |speed| speed.decode);
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Settings> {
    let mut settings = Settings {
        models: Vec::new(),
        peers: Vec::new(),
        rounds: 7,
        n_prompt: 512,
        n_gen: 128,
        n_threads: 2,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().and_then(|value| value.parse::<usize>().ok());
            value.filter(|&n| n > 0).ok_or_else(|| format!("{word} takes a number above 0"))
        };
        match word.as_str() {
            "--rounds" => settings.rounds = number()?,
            "-p" => settings.n_prompt = number()?,
            "-n" => settings.n_gen = number()?,
            "-t" => settings.n_threads = number()?,
            "--peer" => {
                let peer = words.next().and_then(|peer| peer.split_once('='));
                let (name, folder) = peer.ok_or("--peer takes NAME=DIR")?;
                settings.peers.push((name.into(), folder.into()));
            }
            model => settings.models.push(model.into()),
        }
    }
    if settings.models.is_empty() {
        return Err("usage: cargo xtask bench peers MODEL.gguf… [--peer NAME=DIR] [--rounds N] [-p N] [-n N] [-t N]".into());
    }
    Ok(settings)
}

/// The folder of llama.cpp's programs, built if need be.
fn llama_cpp() -> Result<PathBuf> {
    let folder = root().join("target/peers");
    let programs = folder.join("build/bin");
    if programs.join("llama-bench").exists() {
        return Ok(programs);
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let package = "llama-cpp-python";
    let pip = ["-m", "pip", "download", "--no-deps", "--no-binary", package, package];
    run_command(Command::new("python3").args(pip).current_dir(&folder))?;
    let archive =
        find(&folder, |name| name.starts_with("llama_cpp_python") && name.ends_with(".tar.gz"))?;
    run_command(Command::new("tar").arg("xzf").arg(&archive).current_dir(&folder))?;
    let source =
        find(&folder, |name| name.starts_with("llama_cpp_python") && !name.ends_with(".gz"))?;
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(source.join("vendor/llama.cpp")).arg("-B").arg(folder.join("build"));
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF"]);
    configure.args([
        "-DLLAMA_BUILD_TESTS=OFF",
        "-DLLAMA_BUILD_EXAMPLES=OFF",
        "-DLLAMA_BUILD_SERVER=OFF",
    ]);
    run_command(&mut configure)?;
    let mut build = Command::new("cmake");
    build.arg("--build").arg(folder.join("build")).args(["--parallel", "2", "--target"]);
    run_command(build.args(["llama-bench", "llama-perplexity", "llama-quantize"]))?;
    Ok(programs)
}

fn find(folder: &Path, matches: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    entries
        .flatten()
        .find(|entry| matches(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .ok_or_else(|| format!("{}: the downloaded source is not there", folder.display()))
}

fn measure_ours(program: &Path, model: &Path, settings: &Settings) -> Result<Speed> {
    let prompt: Vec<String> =
        (0..settings.n_prompt).map(|i| (300 + i % 20000).to_string()).collect();
    let n_ctx = settings.n_prompt + settings.n_gen + 8;
    let mut command = Command::new(program);
    command.arg("run").arg(model).args(["--json", "--quiet", "--ignore-eos", "--temp", "0"]);
    command.args(["--tokens", &prompt.join(","), "-n", &settings.n_gen.to_string()]);
    command.args(["-t", &settings.n_threads.to_string(), "-c", &n_ctx.to_string()]);
    let text = output(&mut command)?;
    let line = text.lines().last().unwrap_or_default();
    let result: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
    let rate = |key: &str| {
        let value = result.pointer(&format!("/timings/{key}")).and_then(Value::as_f64);
        value.ok_or_else(|| format!("our report has no {key}"))
    };
    Ok(Speed { prefill: rate("prompt_per_second")?, decode: rate("predicted_per_second")? })
}

fn measure_llama_bench(folder: &Path, model: &Path, settings: &Settings) -> Result<Speed> {
    let mut command = Command::new(folder.join("llama-bench"));
    command.arg("-m").arg(model).args(["-o", "json", "-r", "1"]);
    command.args(["-p", &settings.n_prompt.to_string(), "-n", &settings.n_gen.to_string()]);
    command.args(["-t", &settings.n_threads.to_string()]);
    let result: Value =
        serde_json::from_str(&output(&mut command)?).map_err(|error| error.to_string())?;
    let rate = |key: &str| {
        let rows = result.as_array().into_iter().flatten();
        let row = rows.into_iter().find(|row| row[key].as_u64().is_some_and(|n| n > 0));
        row.and_then(|row| row["avg_ts"].as_f64())
            .ok_or_else(|| format!("llama-bench tells no {key}"))
    };
    Ok(Speed { prefill: rate("n_prompt")?, decode: rate("n_gen")? })
}

fn report(
    model: &Path,
    peer: &str,
    work: &str,
    rounds: &[(Speed, Speed)],
    of: impl Fn(&Speed) -> f64,
) {
    let sorted = |values: Vec<f64>| {
        let mut values = values;
        values.sort_by(f64::total_cmp);
        values
    };
    let ours = sorted(rounds.iter().map(|(ours, _)| of(ours)).collect());
    let theirs = sorted(rounds.iter().map(|(_, theirs)| of(theirs)).collect());
    let ratios = sorted(rounds.iter().map(|(ours, theirs)| of(ours) / of(theirs)).collect());
    let at = |values: &[f64], quarter: usize| values[(values.len() - 1) * quarter / 4];
    println!(
        "| {} | {work} | {:.1} | {peer} | {:.1} | {:.2} ({:.2}-{:.2}) |",
        model.file_name().unwrap_or_default().to_string_lossy(),
        at(&ours, 2),
        at(&theirs, 2),
        at(&ratios, 2),
        at(&ratios, 1),
        at(&ratios, 3),
    );
}
