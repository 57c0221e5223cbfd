//! One test: so many tokens of a prompt, then so many one by one.

use std::time::{Duration, Instant};

use gristmill::runtime::{Session, feed_together};

use crate::args::Bench;
use crate::exit::Result;
use crate::model::Loaded;

/// Tokens to process together, and tokens to process one at a time after them; the latter of several texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Test {
    pub(super) n_prompt: usize,
    pub(super) n_gen: usize,
    /// One, but for tests that only generate.
    pub(super) n_parallel: usize,
}

impl Test {
    /// Prompts, then generations, then pairs; zeros are left out.
    pub(super) fn list(args: &Bench) -> Vec<Test> {
        let one = |n_prompt, n_gen| Test { n_prompt, n_gen, n_parallel: 1 };
        let prompts = args.n_prompt.iter().map(|&n_prompt| one(n_prompt, 0));
        let gens = args.n_gen.iter().flat_map(|&n_gen| {
            let together = args.batch.iter().filter(|&&n_parallel| n_parallel > 0);
            together.map(move |&n_parallel| Test { n_parallel, ..one(0, n_gen) })
        });
        let pairs = args.pg.iter().map(|&(n_prompt, n_gen)| one(n_prompt, n_gen));
        prompts.chain(gens).chain(pairs).filter(|test| test.n_tokens() > 0).collect()
    }

    /// All tokens, of all texts.
    pub(super) fn n_tokens(self) -> usize {
        self.n_prompt + self.n_gen * self.n_parallel
    }

    /// `pp512`, `tg128`, `pp512+tg128`, `tg32 x 8`, and how many tokens were there before.
    pub(super) fn name(self, n_depth: usize) -> String {
        let mut name = match (self.n_prompt, self.n_gen) {
            (n_prompt, 0) => format!("pp{n_prompt}"),
            (0, n_gen) => format!("tg{n_gen}"),
            (n_prompt, n_gen) => format!("pp{n_prompt}+tg{n_gen}"),
        };
        if self.n_parallel > 1 {
            name += &format!(" x {}", self.n_parallel);
        }
        if n_depth > 0 {
            name += &format!(" @ d{n_depth}");
        }
        name
    }

    /// Runs it after what the sessions hold, `n_parallel` of them.
    pub(super) fn run(self, sessions: &mut [Session], tokens: &mut Tokens) -> Result<Duration> {
        let prompt = tokens.take(self.n_prompt);
        let texts = tokens.take(self.n_gen * self.n_parallel);
        let mut sessions: Vec<&mut Session> = sessions.iter_mut().collect();
        let started = Instant::now();
        if !prompt.is_empty() {
            sessions[0].feed(&prompt).map_err(gristmill::Error::from)?;
        }
        for next in texts.chunks(self.n_parallel) {
            match sessions.as_mut_slice() {
                [session] => session.feed(next).map(|_| ()).map_err(gristmill::Error::from)?,
                all => feed_together(all, next).map_err(gristmill::Error::from)?,
            }
        }
        Ok(started.elapsed())
    }
}

/// Random tokens, the same in every run.
pub(super) struct Tokens {
    n_vocab: usize,
    state: u64,
}

impl Tokens {
    pub(super) fn new(loaded: &Loaded) -> Tokens {
        Tokens { n_vocab: loaded.model.n_vocab(), state: 1 }
    }

    pub(super) fn take(&mut self, n: usize) -> Vec<u32> {
        let mut next = || {
            // A linear congruential generator (Knuth's MMIX), of which the high bits are good.
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((self.state >> 33) % self.n_vocab as u64) as u32
        };
        (0..n).map(|_| next()).collect()
    }
}

/// How long the repetitions took.
#[derive(Default)]
pub(super) struct Times(Vec<Duration>);

/// Mean and standard deviation of a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Spread {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Spread { mean, deviation: (squares / (n - 1.0).max(1.0)).sqrt() }
    }
}

impl Times {
    pub(super) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The mean time.
    pub(super) fn mean(&self) -> Duration {
        self.0.iter().sum::<Duration>() / self.0.len() as u32
    }

    /// In nanoseconds, each.
    pub(super) fn nanoseconds(&self) -> Vec<u64> {
        self.0.iter().map(|time| time.as_nanos() as u64).collect()
    }

    /// In nanoseconds.
    pub(super) fn spread(&self) -> Spread {
        Spread::of(&self.nanoseconds().into_iter().map(|time| time as f64).collect::<Vec<_>>())
    }

    /// Tokens per second of each repetition, `n` tokens long.
    pub(super) fn rates(&self, n: usize) -> Vec<f64> {
        self.0.iter().map(|time| n as f64 / time.as_secs_f64()).collect()
    }

    /// Tokens per second, `n` tokens long.
    pub(super) fn rate(&self, n: usize) -> Spread {
        Spread::of(&self.rates(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn tests_are_named_as_llama_bench_names_them() {
        let words = ["gristmill", "bench", "m", "-p", "512,0", "-pg", "64,16", "--batch", "1,8"];
        let words = Bench::spelled_out(words.iter().map(Into::into));
        let Command::Bench(args) = Cli::parse_from(words).command else {
            panic!("another command")
        };
        let tests = Test::list(&args);
        let names: Vec<String> = tests.iter().map(|test| test.name(0)).collect();
        assert_eq!(names, ["pp512", "tg128", "tg128 x 8", "pp64+tg16"]);
        assert_eq!(tests[1].name(4096), "tg128 @ d4096");
        assert_eq!(tests[2].n_tokens(), 1024);
    }

    #[test]
    fn a_spread_is_mean_and_sample_deviation() {
        assert_eq!(Spread::of(&[5.0]), Spread { mean: 5.0, deviation: 0.0 });
        assert_eq!(Spread::of(&[1.0, 3.0]), Spread { mean: 2.0, deviation: 2f64.sqrt() });
    }
}
