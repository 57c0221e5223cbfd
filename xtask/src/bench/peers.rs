//! `bench peers MODEL…`: gristmill beside other engines, fairly.
//!
//! Rounds are interleaved (ours, theirs, ours, theirs, …; each round begins with another engine), and what counts is
//! the median of the per-round ratios with its quartiles: figures of different minutes are never compared.
//! `conditions` watches the machine during each sample, `work` knows what is measured and how each engine is asked,
//! `report` reckons and prints, `plot` draws.

mod build;
mod conditions;
mod plot;
mod report;
mod work;

use std::path::{Path, PathBuf};

use crate::Result;
use crate::shell::{cargo, run as run_command, target};
use conditions::{Conditions, Priority};
use report::{Comparison, Pair};
use work::{Engine, Figure, Work};

const USAGE: &str = "\
usage: cargo xtask bench peers MODEL… [options]
  -p N -n N -d N         prompt tokens, generated tokens, tokens before them [512 128 0]
  --npl N                so many texts decoded together instead
  --start                time from the start of the process to the first token instead
  --quantize TYPE        time to quantize each MODEL instead
  --convert              time to convert each MODEL, beside cp, instead
  -t N                   threads [2]
  --rounds N             rounds [9]
  --disturbed            count rounds in which other programs ran, too
  --peer 'NAME=DIR …'    a folder with llama.cpp's programs [llama.cpp, built here];
                         words after it are options for llama-bench, or VARIABLE=VALUE
  --write NAME           put the result into section NAME of docs/performance.md, with a plot";

struct Settings {
    models: Vec<PathBuf>,
    peers: Vec<Engine>,
    work: Work,
    n_threads: usize,
    rounds: usize,
    /// Whether rounds are discarded in which other programs ran.
    alone: bool,
    section: Option<String>,
}

/// One measurement of one engine.
struct Sample {
    figures: Vec<Figure>,
    conditions: Conditions,
}

/// `peers …`.
pub(crate) fn run(arguments: &[String]) -> Result {
    let mut settings = parse(arguments)?;
    if settings.peers.is_empty() && settings.work.has_peers() {
        settings.peers.push(Engine::peer("llama.cpp", build::llama_cpp()?));
    }
    run_command(&mut cargo(&["build", "--release", "--package", "gristmill-cli"]))?;
    let ours = target().join("release/gristmill");
    let mut engines = vec![Engine::ours(ours.clone())];
    engines.append(&mut settings.peers);
    if matches!(settings.work, Work::Convert) {
        engines.push(Engine::cp());
    }

    let _priority = Priority::raise();
    let mut comparisons = Vec::new();
    for model in &settings.models {
        comparisons.extend(compare(&settings, &engines, model)?);
    }
    let how = format!("{} threads, {} rounds", settings.n_threads, settings.rounds);
    let heading = report::heading(&ours, &how, &comparisons)?;
    let table = report::table(&comparisons);
    println!("{heading}\n\n{table}");
    match &settings.section {
        Some(section) => report::write(section, &heading, &table, &comparisons),
        None => Ok(()),
    }
}

/// Measures every engine on one model, round by round.
fn compare(settings: &Settings, engines: &[Engine], model: &Path) -> Result<Vec<Comparison>> {
    let measure = |engine: &Engine| settings.work.measure(engine, model, settings.n_threads);
    // The first run of each engine warms the file cache, does not count, and shows who can read the model.
    let mut able = Vec::new();
    for engine in engines {
        match measure(engine) {
            Ok(_) => able.push(engine),
            Err(message) if engine.is_ours() => return Err(message),
            Err(message) => eprintln!("{} is left out: {message}", engine.name),
        }
    }
    let mut comparisons = Vec::new();
    for round in 0..settings.rounds {
        let mut samples: Vec<Option<Sample>> = able.iter().map(|_| None).collect();
        for turn in 0..able.len() {
            let index = (round + turn) % able.len();
            let engine = able[index];
            let (figures, conditions) = conditions::watch(|| measure(engine));
            let place = format!("round {} of {}, {}", round + 1, settings.rounds, engine.name);
            match figures {
                Ok(figures) => {
                    let sample = Sample { figures, conditions };
                    eprintln!("{place}: {sample}");
                    samples[index] = Some(sample);
                }
                Err(message) => eprintln!("{place}: {message}"),
            }
        }
        let Some(ours) = &samples[0] else { continue };
        for (peer, theirs) in able.iter().zip(&samples).skip(1) {
            if let Some(theirs) = theirs {
                add([ours, theirs], &peer.name, model, settings.alone, &mut comparisons);
            }
        }
    }
    Ok(comparisons)
}

/// Adds our sample and a peer's of the same round to the comparisons on this model.
fn add(
    [ours, theirs]: [&Sample; 2],
    peer: &str,
    model: &Path,
    alone: bool,
    comparisons: &mut Vec<Comparison>,
) {
    let is_quiet = [ours, theirs].iter().all(|sample| sample.conditions.is_quiet(alone));
    for (our_figure, their_figure) in ours.figures.iter().zip(&theirs.figures) {
        let is_same = |c: &Comparison| c.peer == peer && c.what == our_figure.what;
        let index = comparisons.iter().position(is_same).unwrap_or_else(|| {
            let file = model.file_stem().unwrap_or(model.as_os_str());
            comparisons.push(Comparison {
                model: file.to_string_lossy().into_owned(),
                peer: peer.into(),
                what: our_figure.what.clone(),
                unit: our_figure.unit,
                pairs: Vec::new(),
                discarded: 0,
            });
            comparisons.len() - 1
        });
        let comparison = &mut comparisons[index];
        if is_quiet {
            comparison.pairs.push(Pair {
                ours: our_figure.value,
                theirs: their_figure.value,
                placement: ours.conditions.placement.both(theirs.conditions.placement),
                others: ours.conditions.others.max(theirs.conditions.others),
            });
        } else {
            comparison.discarded += 1;
        }
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for figure in &self.figures {
            write!(f, "{} {:.2} {}, ", figure.what, figure.value, figure.unit.name())?;
        }
        write!(f, "{}", self.conditions)
    }
}

fn parse(arguments: &[String]) -> Result<Settings> {
    let (mut models, mut peers, mut section, mut work) = (Vec::new(), Vec::new(), None, None);
    let (mut n_prompt, mut n_gen, mut n_depth, mut n_threads) = (512, 128, 0, 2);
    let (mut rounds, mut alone, mut n_parallel) = (9, true, 0);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} takes a value"));
        let mut number = || value()?.parse::<usize>().map_err(|_| format!("{word} takes a number"));
        match word.as_str() {
            "-p" => n_prompt = number()?,
            "-n" => n_gen = number()?,
            "-d" => n_depth = number()?,
            "-t" => n_threads = number()?.max(1),
            "--npl" => n_parallel = number()?,
            "--start" => work = Some(Work::Start),
            "--convert" => work = Some(Work::Convert),
            "--quantize" => work = Some(Work::Quantize(value()?.clone())),
            "--rounds" => rounds = number()?.max(1),
            "--disturbed" => alone = false,
            "--peer" => peers.push(Engine::parse(value()?)?),
            "--write" => section = Some(value()?.clone()),
            option if option.starts_with('-') => return Err(format!("{option}?\n{USAGE}")),
            model => {
                let path = std::path::absolute(model);
                models.push(path.map_err(|error| format!("{model}: {error}"))?);
            }
        }
    }
    if models.is_empty() {
        return Err(USAGE.into());
    }
    let work = work.unwrap_or(match n_parallel {
        0 => Work::Speed { n_prompt, n_gen, n_depth },
        _ => Work::Together { n_prompt, n_gen, n_parallel },
    });
    Ok(Settings { models, peers, work, n_threads, rounds, alone, section })
}
