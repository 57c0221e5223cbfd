//! `bench`: tokens per second, measured and printed as llama-bench does, so that tables can stand side by side.

mod print;
mod test;

use std::io::IsTerminal;
use std::path::Path;

use gristmill::runtime::SessionOptions;

use crate::args::{Bench, CacheTypeArg, SourceArgs};
use crate::exit::{Failure, Result};
use crate::interrupt;
use crate::limits::{Limits, Share, Work, memory_to_read};
use crate::model::{self, Loaded};
use print::Printer;
use test::{Test, Times};

/// One line of the result.
struct Measured<'a> {
    file: &'a Path,
    model: &'a Description,
    config: Config,
    test: Test,
    times: Times,
    share: Option<Share>,
}

/// How the session of a test works.
#[derive(Clone, Copy)]
struct Config {
    n_depth: usize,
    n_batch: usize,
    cache: CacheTypeArg,
    n_threads: usize,
}

/// What is said about a model.
struct Description {
    /// Architecture, size and type.
    title: String,
    n_bytes: u64,
    n_params: u64,
}

/// Runs every test on every model with every combination of options.
pub(crate) fn run(args: Bench) -> Result {
    let files: Vec<_> = args.models.iter().chain(&args.model).collect();
    if files.is_empty() {
        return Err("give a model file: gristmill bench MODEL".into());
    }
    let tests = Test::list(&args);
    if tests.is_empty() {
        return Err("there is nothing to measure: every -p, -n and -pg is 0".into());
    }
    let progress = args.progress || (args.verbose && std::io::stderr().is_terminal());
    let mut printer = Printer::new(&args);
    printer.begin();
    let configs = configs(&args);
    let memory = args.verbose.then(|| memory_to_read(configs[0].n_threads)).transpose()?;
    for file in files {
        let loaded = Loaded::open_in(file, &SourceArgs::default(), args.memory)?;
        let description = describe(&loaded);
        let work = Work::of(&loaded);
        for &config in &configs {
            for &test in &tests {
                if progress {
                    eprintln!("{}: {} …", file.display(), test.name(config.n_depth));
                }
                let look = || memory.as_ref().map(|memory| work.limits(config.n_threads, memory));
                let before = look();
                let times = measure(&args, &loaded, config, test)?;
                let limits = before.zip(look()).map(|(before, after)| before.or_better(after));
                let share = limits.and_then(|limits| share(&work, &limits, config, test, &times));
                printer.line(&Measured { file, model: &description, config, test, times, share });
            }
        }
    }
    printer.end();
    Ok(())
}

/// Every combination, in llama-bench's order.
fn configs(args: &Bench) -> Vec<Config> {
    let default_threads = [SessionOptions::default().n_threads];
    let threads: &[usize] = if args.threads.is_empty() { &default_threads } else { &args.threads };
    let mut list = Vec::new();
    for &n_depth in &args.n_depth {
        for &n_batch in &args.batch_size {
            for &cache in &args.cache_type {
                for &n_threads in threads {
                    list.push(Config { n_depth, n_batch, cache, n_threads: n_threads.max(1) });
                }
            }
        }
    }
    list
}

/// A warm-up, then the repetitions.
fn measure(args: &Bench, loaded: &Loaded, config: Config, test: Test) -> Result<Times> {
    let n_ctx = config.n_depth + test.n_prompt + test.n_gen;
    let Config { n_depth, n_batch, cache, n_threads } = config;
    let mut tokens = test::Tokens::new(loaded);
    let mut sessions = Vec::with_capacity(test.n_parallel);
    for _ in 0..test.n_parallel {
        let mut session = model::session(loaded, n_ctx, n_batch, Some(n_threads), cache, false)?;
        if n_depth > 0 {
            session.feed(&tokens.take(n_depth)).map_err(gristmill::Error::from)?;
        }
        sessions.push(session);
    }
    if !args.no_warmup {
        let warmup = Test { n_gen: test.n_gen.min(1), ..test };
        warmup.run(&mut sessions, &mut tokens)?;
    }
    let mut times = Times::default();
    for _ in 0..args.repetitions.max(1) {
        if interrupt::check().is_break() {
            return Err(Failure::Interrupted);
        }
        sessions.iter_mut().for_each(|session| session.rewind(n_depth));
        times.push(test.run(&mut sessions, &mut tokens)?);
    }
    Ok(times)
}

/// How near a test came to its limit; a prompt and its continuation together have no single one.
fn share(work: &Work, limits: &Limits, config: Config, test: Test, times: &Times) -> Option<Share> {
    match (test.n_prompt, test.n_gen) {
        (0, n_gen) => {
            let of_text = work.cached_bytes(config.cache.into(), config.n_depth, n_gen);
            let cached_bytes = test.n_parallel as f64 * of_text;
            Some(work.decode(limits, cached_bytes, times.rate(n_gen).mean))
        }
        (n_prompt, 0) => Some(work.prefill(limits, n_prompt, times.mean())),
        _ => None,
    }
}

fn describe(loaded: &Loaded) -> Description {
    let tensors = loaded.tensors();
    let n_bytes = tensors.iter().map(|info| info.n_bytes()).sum();
    let n_params = tensors.iter().map(|info| info.shape.numel() as u64).sum();
    let bytes_of = |dtype| -> u64 {
        let of_type = tensors.iter().filter(|info| info.dtype == dtype);
        of_type.map(|info| info.n_bytes()).sum()
    };
    let commonest = tensors.iter().map(|info| info.dtype).max_by_key(|&dtype| bytes_of(dtype));
    let title = format!(
        "{} {} {}",
        loaded.architecture().unwrap_or("?"),
        crate::human::parameters(n_params),
        commonest.map_or("?", |dtype| dtype.name())
    );
    Description { title, n_bytes, n_params }
}
