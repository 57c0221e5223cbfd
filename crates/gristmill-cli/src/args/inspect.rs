//! What looks into models: `inspect`, `tokenize` and `logits`.

use std::path::PathBuf;

use clap::Args;

use super::{ModelArgs, SourceArgs};

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
