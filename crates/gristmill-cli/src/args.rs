//! The command line, as data. Names follow llama.cpp's programs letter for letter where they have the option.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
#[command(after_help = "\
Examples:
  gristmill convert ./gpt-j-6b                          an F16 file in this folder, named by convention
  gristmill convert ./gpt-j-6b -o j.gguf --outtype q4_0 one pass from checkpoint to Q4_0
  gristmill convert pytorch_model.bin -o out/           config.json and tokenizer beside the file
  gristmill convert ggml-model-q4_0.bin -o new.gguf     a file of 2023, its weights as they are
  gristmill convert model.gguf --to safetensors -o hf/  back to a folder for Transformers
  gristmill convert ./gpt-j-6b --to ggml --outtype q4_0 --quant-version 0
                                                        what GPT4All read in 2023")]
pub(crate) struct Convert {
    /// A checkpoint folder or a model file; recognized by content
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// A file, or a folder in which the file is named by the GGUF naming convention
    #[arg(short, long, value_name = "OUT", default_value = ".")]
    pub(crate) output: PathBuf,
    /// How weights are stored; copy keeps each tensor's type [default: copy for quantized models, else f16]
    #[arg(long, value_name = "TYPE", value_parser = OUT_TYPES, ignore_case = true)]
    pub(crate) outtype: Option<String>,
    /// What to write: a GGUF file, a legacy ggml file, or a folder for Transformers
    #[arg(long, value_name = "FORMAT", default_value = "gguf", value_parser = TARGETS, ignore_case = true)]
    pub(crate) to: String,
    /// Quantize again what is quantized already, although it loses more than quantizing once
    #[arg(long)]
    pub(crate) allow_requantize: bool,
    #[command(flatten)]
    pub(crate) legacy: Legacy,
    #[command(flatten)]
    pub(crate) source_args: SourceArgs,
    #[command(flatten)]
    pub(crate) work: Work,
}

/// For legacy ggml files as output.
#[derive(Args)]
pub(crate) struct Legacy {
    /// The version of the block layouts: 2 is today's, 1 that of 12 to 19 May 2023, 0 the one before, which GPT4All
    /// reads [default: 0 for ggmf and ggmm, else 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=2))]
    pub(crate) quant_version: Option<u32>,
}

/// What a model does not say about itself.
#[derive(Args, Default)]
pub(crate) struct SourceArgs {
    /// The architecture, for legacy files that could be of several
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Option<String>,
    /// A folder or file with the tokenizer, instead of what the model brings along
    #[arg(long, value_name = "DIR")]
    pub(crate) tokenizer: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  gristmill quantize model-f16.gguf model-q4_0.gguf q4_0
  gristmill quantize model-q8_0.gguf model-q4_0.gguf q4_0 --allow-requantize
  gristmill quantize model-f16.gguf old.bin q5_1 --container ggjt")]
pub(crate) struct Quantize {
    /// A model file or checkpoint folder
    #[arg(value_name = "IN")]
    pub(crate) source: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The type of the weights
    #[arg(value_name = "TYPE", value_parser = OUT_TYPES, ignore_case = true)]
    pub(crate) outtype: String,
    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "gguf", value_parser = CONTAINERS, ignore_case = true)]
    pub(crate) container: String,
    /// Quantize again what is quantized already, although it loses more than quantizing once
    #[arg(long)]
    pub(crate) allow_requantize: bool,
    #[command(flatten)]
    pub(crate) legacy: Legacy,
    #[command(flatten)]
    pub(crate) source_args: SourceArgs,
    #[command(flatten)]
    pub(crate) work: Work,
}

/// The types that weights can be written as.
const OUT_TYPES: [&str; 23] = [
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_1", "q5_0", "q5_k_m", "q5_k_s", "q5_k", "q4_1",
    "q4_0", "q4_k_m", "q4_k_s", "q4_k", "iq4_nl", "iq4_xs", "q3_k_l", "q3_k_m", "q3_k_s", "q3_k",
    "q2_k", "copy",
];

/// What models can be written as.
const TARGETS: [&str; 7] = ["gguf", "ggml", "ggmf", "ggjt", "ggmm", "safetensors", "pytorch"];

/// Those that are single files.
const CONTAINERS: [&str; 5] = ["gguf", "ggml", "ggmf", "ggjt", "ggmm"];

/// How files are written.
#[derive(Args)]
pub(crate) struct Work {
    /// Replace an existing output
    #[arg(long)]
    pub(crate) force: bool,
    /// Memory for tensor data, as 256MiB or 1G
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    pub(crate) memory: u64,
    /// Threads [default: all]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// No progress bar and no summary
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Progress and summary as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  gristmill run model.gguf -p 'Once upon a time' -n 100
  gristmill run ./checkpoint -p 'The king' --temp 0      straight from a checkpoint, greedy
  gristmill run chat.gguf                                a conversation
  gristmill run chat.gguf --chat -p 'Who are you?'       one turn of it")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text to continue; without it, a conversation begins
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// A file that holds the prompt
    #[arg(short, long, value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) file: Option<PathBuf>,
    /// Token ids to start from instead of text
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with_all = ["prompt", "file"])]
    pub(crate) tokens: Option<Vec<u32>>,
    /// The most tokens to write; -1 for no bound but the context
    #[arg(short, long, visible_alias = "predict", value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    pub(crate) n_predict: i64,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// Never use the chat template: plain completion, also interactively
    #[arg(long, visible_alias = "no-conversation", conflicts_with = "chat")]
    pub(crate) no_chat: bool,
    /// What the chat template is given as the system's message
    #[arg(long, value_name = "TEXT")]
    pub(crate) system_prompt: Option<String>,
    /// Stop before this text; may be given several times
    #[arg(long, value_name = "TEXT", visible_alias = "reverse-prompt")]
    pub(crate) stop: Vec<String>,
    /// Do not stop at the end-of-text token
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// End with one JSON object: prompt_tokens, tokens, text, finish_reason, timings
    #[arg(long)]
    pub(crate) json: bool,
    /// No timings at the end
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Measure the machine at the end, and say how near to its limits the run came
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// How the next token is chosen.
#[derive(Args)]
pub(crate) struct Sampling {
    /// Temperature; 0 always takes the likeliest token
    #[arg(long, visible_alias = "temperature", value_name = "T", default_value_t = 0.8)]
    pub(crate) temp: f32,
    /// Only the K likeliest tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 40)]
    pub(crate) top_k: usize,
    /// Only the likeliest tokens that together reach this probability; 1 for all
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub(crate) top_p: f32,
    /// Only tokens of at least this share of the likeliest one's probability; 0 for all
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    pub(crate) min_p: f32,
    /// Divides the logits of tokens seen lately; 1 for no penalty
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub(crate) repeat_penalty: f32,
    /// How many tokens count as lately; 0 for none, -1 for the whole context
    #[arg(long, value_name = "N", default_value_t = 64, allow_hyphen_values = true)]
    pub(crate) repeat_last_n: i64,
    /// Subtracted from the logits of tokens seen lately
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_hyphen_values = true)]
    pub(crate) presence_penalty: f32,
    /// Subtracted from the logits of tokens seen lately, once per occurrence
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_hyphen_values = true)]
    pub(crate) frequency_penalty: f32,
    /// Seed of the random choice; -1 for a new one each time
    #[arg(short, long, value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    pub(crate) seed: i64,
}

/// A model and how to run it.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// A model file or checkpoint folder of any format
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) source_args: SourceArgs,
    /// Tokens of context; 0 for as many as the model was made for [default: as many, up to 4096]
    #[arg(short, long, value_name = "N")]
    pub(crate) ctx_size: Option<usize>,
    /// Threads [default: the physical cores]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Prompt tokens processed together
    #[arg(short, long, value_name = "N", default_value_t = 512)]
    pub(crate) batch_size: usize,
    /// Type of the cached keys and values
    #[arg(long, visible_alias = "cache-type-k", value_name = "TYPE", default_value = "f16")]
    pub(crate) cache_type: CacheTypeArg,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// Compute the same bits however the prompt is cut into batches; slower for F16 and BF16 weights
    #[arg(long)]
    pub(crate) deterministic: bool,
}

/// Where the weights are.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct MemoryArgs {
    /// Copy the weights into memory instead of reading them where the file is mapped
    #[arg(long)]
    pub(crate) no_mmap: bool,
    /// Keep the mapped file in memory; the system's limit on locked memory must allow it
    #[arg(long, conflicts_with = "no_mmap")]
    pub(crate) mlock: bool,
}

/// The types of cached keys and values.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CacheTypeArg {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// Eight bits and a scale for every 32 numbers.
    #[value(name = "q8_0")]
    Q8_0,
}

impl CacheTypeArg {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CacheTypeArg::F16 => "f16",
            CacheTypeArg::F32 => "f32",
            CacheTypeArg::Q8_0 => "q8_0",
        }
    }
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  gristmill inspect model.gguf
  gristmill identify ggml-model-q4_0.bin      who wrote it, who reads it, what to do with it")]
pub(crate) struct Inspect {
    /// A model file or checkpoint folder, or whatever was downloaded instead
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) source_args: SourceArgs,
    /// Everything as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Tokenize {
    /// A model file or checkpoint folder
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) source_args: SourceArgs,
    #[command(flatten)]
    pub(crate) text: Text,
    /// Do not put the beginning-of-text token in front
    #[arg(long)]
    pub(crate) no_bos: bool,
    /// Ids and pieces as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Text on the command line or in a file.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Text {
    /// The text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// A file that holds the text
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  gristmill logits model.gguf -p 'Alice was' -o logits.safetensors
  gristmill logits ./checkpoint --tokens 32,344,337 -o logits.safetensors")]
pub(crate) struct Logits {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text
    #[arg(
        short,
        long,
        value_name = "TEXT",
        required_unless_present = "tokens",
        allow_hyphen_values = true
    )]
    pub(crate) prompt: Option<String>,
    /// Token ids instead of text
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with = "prompt")]
    pub(crate) tokens: Option<Vec<u32>>,
    /// The file to write: tensor `logits`, F32, `[n_tokens, n_vocab]`
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Replace an existing output
    #[arg(long)]
    pub(crate) force: bool,
}

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
    #[arg(long, value_name = "TYPE", default_value = "f16")]
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

/// Two numbers with a comma between them.
fn parse_pair(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once(',').map(|(a, b)| (a.trim().parse(), b.trim().parse()));
    match numbers {
        Some((Ok(n_prompt), Ok(n_gen))) => Ok((n_prompt, n_gen)),
        _ => Err("two numbers with a comma between them, as 512,128".into()),
    }
}

/// Bytes from `256MiB`, `1G`, `64m` or a plain number; units are powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err("a size is a number with K, M or G, as 256MiB".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a size begins with a number, as 256MiB")?;
    let bytes = number.checked_mul(1 << shift).ok_or("that is more memory than there is")?;
    if bytes < 1 << 20 {
        return Err("the least is 1MiB".into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_name_on_the_command_line_is_known_to_the_library() {
        use gristmill::{Target, convert::OutType};
        assert!(OUT_TYPES.iter().all(|name| OutType::from_name(name).is_some()));
        assert!(OutType::ALL.iter().all(|o| OUT_TYPES.contains(&&*o.name().to_lowercase())));
        assert_eq!(TARGETS, Target::ALL.map(Target::name));
        let files = Target::ALL.into_iter().filter(|target| !target.is_folder());
        assert!(files.map(Target::name).eq(CONTAINERS));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("64mb"), Ok(64 << 20));
        assert_eq!(parse_size("2097152"), Ok(2 << 20));
        for bad in ["", "x", "12T", "99999999999G", "1K"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

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
