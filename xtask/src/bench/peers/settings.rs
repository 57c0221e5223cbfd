//! What `bench peers` is told to do.

use std::path::PathBuf;

use super::engines::Named;
use super::work::Work;
use crate::Result;

pub(super) const USAGE: &str = "\
usage: cargo xtask bench peers MODEL… [options]
  -p N -n N -d N         prompt tokens, generated tokens, tokens before them [512 128 0]
  --npl N                so many texts decoded together instead
  --start                time from the start of the process to the first token instead
  --quantize TYPE        time to quantize each MODEL instead; may be given several times
  --convert              time to convert each MODEL, beside cp, instead
  -t N                   threads [2]
  --rounds N             rounds that count [9]; up to as many again are tried
  --disturbed            count rounds in which other programs ran, too
  --peer 'NAME=DIR …'    a folder with llama.cpp's programs, with ggml's gpt-j, or a virtual environment with
                         ctransformers [llama.cpp, built here]; words after it are options for llama-bench or
                         gpt-j, ctransformers' name of the architecture, or VARIABLE=VALUE
  --write NAME           put the result into section NAME of docs/performance.md, with a plot";

/// What is measured, of which models, beside whom, how often.
pub(in crate::bench) struct Settings {
    pub(super) models: Vec<PathBuf>,
    pub(super) peers: Vec<Named>,
    pub(super) works: Vec<Work>,
    pub(super) n_threads: usize,
    pub(super) rounds: usize,
    /// Whether rounds are discarded in which other programs ran.
    pub(super) alone: bool,
    pub(super) section: Option<String>,
}

impl Settings {
    /// Whether neither models nor a section are named, but only how and beside whom to measure.
    pub(in crate::bench) fn is_about_how(&self) -> bool {
        self.models.is_empty() && self.section.is_none()
    }

    /// Reads the words of the command line.
    pub(in crate::bench) fn parse(arguments: &[String]) -> Result<Settings> {
        let (mut models, mut peers, mut works, mut section) =
            (Vec::new(), Vec::new(), Vec::new(), None);
        let (mut n_prompt, mut n_gen, mut n_depth, mut n_parallel) = (512, 128, 0, 0);
        let (mut n_threads, mut rounds, mut alone) = (2, 9, true);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} takes a value"));
            let mut number =
                || value()?.parse::<usize>().map_err(|_| format!("{word} takes a number"));
            match word.as_str() {
                "-p" => n_prompt = number()?,
                "-n" => n_gen = number()?,
                "-d" => n_depth = number()?,
                "-t" => n_threads = number()?.max(1),
                "--npl" => n_parallel = number()?,
                "--start" => works.push(Work::Start),
                "--convert" => works.push(Work::Convert),
                "--quantize" => works.push(Work::Quantize(value()?.clone())),
                "--rounds" => rounds = number()?.max(1),
                "--disturbed" => alone = false,
                "--peer" => peers.push(Named::parse(value()?)?),
                "--write" => section = Some(value()?.clone()),
                option if option.starts_with('-') => return Err(format!("{option}?\n{USAGE}")),
                model => {
                    let path = std::path::absolute(model);
                    models.push(path.map_err(|error| format!("{model}: {error}"))?);
                }
            }
        }
        if works.is_empty() && n_parallel > 0 {
            works.push(Work::Together { n_prompt, n_gen, n_parallel });
        } else if works.is_empty() {
            // Each by itself: the shorter a round, the more often its sides see the machine in the same state.
            let tests = [(n_prompt, 0), (0, n_gen)].into_iter().filter(|&test| test != (0, 0));
            works.extend(tests.map(|(n_prompt, n_gen)| Work::Speed { n_prompt, n_gen, n_depth }));
        }
        Ok(Settings { models, peers, works, n_threads, rounds, alone, section })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_and_decoding_have_rounds_of_their_own() {
        let works = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(Into::into).collect();
            let works = Settings::parse(&words).unwrap().works.into_iter();
            let told = works.map(|work| match work {
                Work::Speed { n_prompt, n_gen, n_depth } => [n_prompt, n_gen, n_depth],
                _ => [0; 3],
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(works("-p 256 -n 16"), [[256, 0, 0], [0, 16, 0]]);
        assert_eq!(works("-p 0 -n 16 -d 4096"), [[0, 16, 4096]]);
        assert_eq!(works("--npl 8"), [[0; 3]]);
    }
}
