//! What runs models: `run`, and the options that others share with it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gristmill::runtime::CacheType;

use super::SourceArgs;

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

impl From<CacheTypeArg> for CacheType {
    fn from(cache: CacheTypeArg) -> CacheType {
        match cache {
            CacheTypeArg::F16 => CacheType::F16,
            CacheTypeArg::F32 => CacheType::F32,
            CacheTypeArg::Q8_0 => CacheType::Q8_0,
        }
    }
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
