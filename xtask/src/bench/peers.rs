//! `bench peers MODEL…`: gristmill beside other engines, fairly.
//!
//! Rounds are interleaved (ours, theirs, ours, theirs, …; each round begins with another engine), and what counts is
//! the median of the per-round ratios with its quartiles: figures of different minutes are never compared.
//! `conditions` watches the machine during each sample, `work` knows what is measured, `engines` how each program is
//! asked, `report` reckons and prints, `plot` draws.

mod build;
mod conditions;
mod engines;
mod plot;
mod report;
mod settings;
mod work;

use std::path::{Path, PathBuf};

use crate::Result;
use crate::shell::{cargo, run as run_command, target};
use conditions::{Conditions, Priority};
use engines::{Engine, Named};
pub(super) use report::Comparison;
use report::Pair;
pub(super) use settings::Settings;
use work::{Figure, Work};

/// `peers …`.
pub(super) fn run(arguments: &[String]) -> Result {
    let settings = Settings::parse(arguments)?;
    if settings.models.is_empty() {
        return Err(settings::USAGE.into());
    }
    let bench = Bench::begin(settings)?;
    let mut comparisons = Vec::new();
    for model in &bench.settings.models {
        comparisons.extend(bench.compare(model)?);
    }
    bench.tell(&comparisons, bench.settings.section.as_deref())
}

/// Our program, built anew.
pub(super) fn ours() -> Result<PathBuf> {
    run_command(&mut cargo(&["build", "--release", "--package", "gristmill-cli"]))?;
    Ok(target().join("release/gristmill"))
}

/// Programs that are ready to be compared.
pub(super) struct Bench {
    settings: Settings,
    ours: PathBuf,
    /// Ours first.
    engines: Vec<Named>,
    _priority: Priority,
}

/// One measurement of one engine.
struct Sample {
    figures: Vec<Figure>,
    conditions: Conditions,
}

impl Bench {
    /// Builds what is not there.
    pub(super) fn begin(mut settings: Settings) -> Result<Bench> {
        let ours = ours()?;
        let mut engines = vec![Named::ours(ours.clone())];
        engines.append(&mut settings.peers);
        let is_conversion = |work: &Work| matches!(work, Work::Convert);
        if engines.len() == 1 && !settings.works.iter().all(is_conversion) {
            engines.push(build::llama_cpp()?);
        }
        if settings.works.iter().any(is_conversion) {
            engines.push(Named::cp());
        }
        Ok(Bench { settings, ours, engines, _priority: Priority::raise() })
    }

    /// Measures every engine on one model, each work round by round.
    pub(super) fn compare(&self, model: &Path) -> Result<Vec<Comparison>> {
        let mut comparisons = Vec::new();
        for work in &self.settings.works {
            let result = self.compare_at(work, model);
            engines::clear_scratch();
            comparisons.extend(result?);
        }
        Ok(comparisons)
    }

    fn compare_at(&self, work: &Work, model: &Path) -> Result<Vec<Comparison>> {
        let &Settings { n_threads, rounds, .. } = &self.settings;
        // The first run of each engine warms the file cache, does not count, and shows who can do it.
        let mut able = Vec::new();
        for (index, engine) in self.engines.iter().enumerate() {
            match engine.measure(work, model, n_threads) {
                Ok(_) => able.push(engine),
                Err(message) if index == 0 => return Err(message),
                Err(message) => eprintln!("{} is left out: {message}", engine.name),
            }
        }
        let mut comparisons: Vec<Comparison> = Vec::new();
        if able.len() < 2 {
            return Ok(comparisons);
        }
        // Rounds that do not count are made up for, as long as they are not more than those that do.
        for round in 0..2 * rounds {
            if comparisons.iter().map(|comparison| comparison.pairs.len()).min() >= Some(rounds) {
                break;
            }
            let mut samples: Vec<Option<Sample>> = able.iter().map(|_| None).collect();
            for turn in 0..able.len() {
                let index = (round + turn) % able.len();
                let engine = able[index];
                engines::clear_scratch();
                let (figures, conditions) =
                    conditions::watch(|| engine.measure(work, model, n_threads));
                let place = format!("round {}, {}", round + 1, engine.name);
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
                    add([ours, theirs], &peer.name, model, self.settings.alone, &mut comparisons);
                }
            }
        }
        Ok(comparisons)
    }

    /// Prints the result, and puts it into a section of docs/performance.md.
    ///
    /// # Errors
    /// When no round counted: what the section says stays.
    pub(super) fn tell(&self, comparisons: &[Comparison], section: Option<&str>) -> Result {
        if comparisons.iter().all(|comparison| comparison.pairs.is_empty()) {
            return Err("no round counted, for the reasons above".into());
        }
        let how = format!("{} threads, medians", self.settings.n_threads);
        let heading = report::heading(&self.ours, &how, comparisons)?;
        let table = report::table(comparisons);
        println!("{heading}\n\n{table}");
        match section {
            Some(section) => report::write(section, &heading, &table, comparisons),
            None => Ok(()),
        }
    }
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
    for our_figure in &ours.figures {
        let same = theirs.figures.iter().find(|figure| figure.what == our_figure.what);
        // Not every program does every test.
        let Some(their_figure) = same else { continue };
        let is_same = |c: &Comparison| c.peer == peer && c.what == our_figure.what;
        let index = comparisons.iter().position(is_same).unwrap_or_else(|| {
            comparisons.push(Comparison::new(model, peer, our_figure));
            comparisons.len() - 1
        });
        let comparison = &mut comparisons[index];
        if is_quiet {
            comparison.pairs.push(Pair {
                ours: our_figure.reading,
                theirs: their_figure.reading,
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
        for Figure { what, unit, reading, .. } in &self.figures {
            write!(f, "{what} {:.2} {}, ", reading.value, unit.name())?;
        }
        write!(f, "{}", self.conditions)
    }
}
