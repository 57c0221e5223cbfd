//! What measures: `perplexity`, `bench` and `doctor`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CacheTypeArg, MemoryArgs, SourceArgs};

#[derive(Args)]
#[command(after_help = "\
By default exactly as llama-perplexity measures: the text in chunks of --ctx tokens, each beginning with BOS where
the model has one, the second half of each chunk scored. With --stride as Hugging Face's sliding window does.

Examples:
  gristmill perplexity model.gguf -f wiki.test.raw
  gristmill perplexity ./checkpoint -f heldout.txt --ctx 512 --stride 256 --json")]
pub(crate) struct Perplexity {
    /// A model file or checkpoint folder of any format
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) source_args: SourceArgs,
    /// The text
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Tokens of each chunk or window
    #[arg(short, long, visible_alias = "ctx-size", value_name = "N", default_value_t = 512)]
    pub(crate) ctx: usize,
    /// Tokens from one sliding window to the next
    #[arg(long, value_name = "N")]
    pub(crate) stride: Option<usize>,
    /// Threads [default: the physical cores]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Type of the cached keys and values
    #[arg(long, visible_alias = "cache-type-k", value_name = "TYPE", default_value = "f16")]
    pub(crate) cache_type: CacheTypeArg,
    /// The result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress bar
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Args)]
#[command(after_help = "\
Options that take numbers take several, separated by commas; every combination is measured.

Examples:
  gristmill bench model.gguf                           a prompt of 512 tokens, then 128 one by one
  gristmill bench model.gguf -t 1,2,4 -n 32 -p 0       decoding with more and more threads
  gristmill bench model.gguf -d 0,4096 -o json         behind a long text
  gristmill bench model.gguf -p 0 --batch 1,8          several texts continued together
  gristmill bench model.gguf -v                        how near that is to what the machine can do")]
pub(crate) struct Bench {
    /// Model files or checkpoint folders
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    /// The same
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Vec<PathBuf>,
    /// Tokens of the prompt; 0 for no such test
    #[arg(short = 'p', long, value_name = "N", value_delimiter = ',', default_value = "512")]
    pub(crate) n_prompt: Vec<usize>,
    /// Tokens to generate; 0 for no such test
    #[arg(short, long, value_name = "N", value_delimiter = ',', default_value = "128")]
    pub(crate) n_gen: Vec<usize>,
    /// A prompt and a generation after it, timed together; also -pg, may be given several times
    #[arg(long, value_name = "PP,TG", value_parser = parse_pair)]
    pub(crate) pg: Vec<(usize, usize)>,
    /// Tokens that are there before the test begins
    #[arg(short = 'd', long, value_name = "N", value_delimiter = ',', default_value = "0")]
    pub(crate) n_depth: Vec<usize>,
    /// Texts that are continued together, a token of each at a time: only in tests that generate
    #[arg(
        long,
        visible_alias = "npl",
        value_name = "N",
        value_delimiter = ',',
        default_value = "1"
    )]
    pub(crate) batch: Vec<usize>,
    /// Prompt tokens processed together
    #[arg(short, long, value_name = "N", value_delimiter = ',', default_values_t = [Bench::DEFAULT_BATCH])]
    pub(crate) batch_size: Vec<usize>,
    /// Type of the cached keys and values; also -ctk
    #[arg(
        long,
        visible_alias = "cache-type-k",
        value_name = "TYPE",
        value_delimiter = ',',
        default_value = "f16"
    )]
    pub(crate) cache_type: Vec<CacheTypeArg>,
    /// Threads [default: the physical cores]
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    pub(crate) threads: Vec<usize>,
    /// How often each test is repeated
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub(crate) repetitions: usize,
    /// How results are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "md")]
    pub(crate) output: BenchFormat,
    /// No run before the first that counts
    #[arg(long)]
    pub(crate) no_warmup: bool,
    /// Say on standard error what is being measured
    #[arg(long)]
    pub(crate) progress: bool,
    /// Measure the machine before and after each test, and say how near to its limits the test came
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
}

impl Bench {
    /// Prompt tokens processed together where nobody says.
    pub(crate) const DEFAULT_BATCH: usize = 512;

    /// llama-bench has options of several letters behind one dash; here they get the second.
    pub(crate) fn spelled_out(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
        let mut words: Vec<OsString> = words.collect();
        if words.get(1).is_some_and(|command| command == "bench") {
            for word in &mut words[2..] {
                match word.to_str() {
                    Some("-pg") => *word = "--pg".into(),
                    Some("-ctk") => *word = "--cache-type-k".into(),
                    _ => {}
                }
            }
        }
        words
    }
}

/// How `bench` prints.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// A Markdown table.
    Md,
    /// A JSON array.
    Json,
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values.
    Csv,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// Everything as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Threads to measure with [default: those that a model would be run with]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

/// Two numbers with a comma between them.
fn parse_pair(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once(',').map(|(a, b)| (a.trim().parse(), b.trim().parse()));
    match numbers {
        Some((Ok(n_prompt), Ok(n_gen))) => Ok((n_prompt, n_gen)),
        _ => Err("two numbers with a comma between them, as 512,128".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn options_of_llama_bench_are_understood() {
        let words = ["gristmill", "bench", "m.gguf", "-p", "8,16", "-pg", "4,2", "-ctk", "f32,f16"];
        let cli = Cli::parse_from(Bench::spelled_out(words.iter().map(Into::into)));
        let Command::Bench(bench) = cli.command else { panic!("another command") };
        assert_eq!(bench.n_prompt, [8, 16]);
        assert_eq!(bench.n_gen, [128]);
        assert_eq!(bench.pg, [(4, 2)]);
        assert_eq!(bench.cache_type.len(), 2);
        assert!(parse_pair("4").is_err() && parse_pair("4,x").is_err());
    }
}
