//! The command line, as data. Names follow llama.cpp's programs letter for letter where they have the option.

mod inspect;
mod measure;
mod run;
mod write;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use inspect::{Inspect, Logits, Tokenize};
pub(crate) use measure::{Bench, BenchFormat, Doctor, Perplexity};
pub(crate) use run::{CacheTypeArg, MemoryArgs, ModelArgs, Run, Sampling};
pub(crate) use write::{Convert, Quantize, SourceArgs, Work};

/// Opens language-model weights of every format, converts, quantizes and runs them on the CPU.
#[derive(Parser)]
#[command(name = "gristmill", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  gristmill demo                                     the whole way on a small model, in seconds
  gristmill convert ./gpt-j-6b --outtype q4_0        checkpoint folder to quantized GGUF
  gristmill run model.gguf -p 'Once upon a time'     write text
  gristmill inspect model.gguf                       what a file is and holds")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One per file in `commands/`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Convert a model from any format to any other, quantizing on the way if asked
    Convert(Convert),
    /// Quantize a model file
    Quantize(Quantize),
    /// Write text with a model
    Run(Run),
    /// Show what a file is, of any era or none, and what it holds
    #[command(visible_alias = "identify")]
    Inspect(Inspect),
    /// Show how a model cuts text into tokens
    Tokenize(Tokenize),
    /// Write the logits of every position to a safetensors file
    Logits(Logits),
    /// Measure how well a model predicts a text
    Perplexity(Perplexity),
    /// Measure tokens per second, as llama-bench does
    Bench(Bench),
    /// Show what this machine can do, what gristmill makes of it, and what is in the way
    Doctor(Doctor),
    /// Show the whole way, from checkpoint to story, on the model inside this program
    Demo(Demo),
    /// Print completions for a shell
    Completions(Completions),
}

#[derive(Args)]
pub(crate) struct Demo {
    /// Keep the files that are made, in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    /// What the story begins with
    #[arg(short, long, value_name = "TEXT", default_value = "Once upon a time there was")]
    pub(crate) prompt: String,
    /// Seed of the story
    #[arg(short, long, value_name = "N", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Threads [default: the physical cores]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
