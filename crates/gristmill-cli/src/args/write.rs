//! What writes models: `convert` and `quantize`.

use std::path::PathBuf;

use clap::Args;

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
    #[command(flatten)]
    pub(crate) source_args: SourceArgs,
    #[command(flatten)]
    pub(crate) work: Work,
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
    /// Quantize again what is quantized already, although it loses more than quantizing once
    #[arg(long)]
    pub(crate) allow_requantize: bool,
    /// Of legacy ggml files: the version of the block layouts; 2 is today's, 1 that of 12 to 19 May 2023, 0 the one
    /// before, which GPT4All reads [default: 0 for ggmf and ggmm, else 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=2))]
    pub(crate) quant_version: Option<u32>,
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
}
