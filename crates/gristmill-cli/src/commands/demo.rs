//! `demo`: the whole way from checkpoint to story, on the small GPT-J inside this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gristmill::GenerateOptions;
use gristmill::convert::{ConvertOptions, OutType};
use gristmill::runtime::{Chain, SamplerOptions};
use gristmill::tensor::TensorInfo;
use gristmill::verify::{Windows, perplexity};

use crate::args::{CacheTypeArg, Demo, SourceArgs};
use crate::exit::{Failure, Result, at};
use crate::model::{Loaded, session};
use crate::output::say;
use crate::{human, interrupt};

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../../testdata/tale-gptj-4m/", $name)))),*]
    };
}

/// The files of the checkpoint, as PyTorch and transformers wrote them.
const CHECKPOINT: &[(&str, &[u8])] = embedded![
    "config.json",
    "pytorch_model.bin",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// Tales that the model has never seen.
const HELDOUT: &str = include_str!("../../../../testdata/tale-gptj-4m/heldout.txt");

/// Tokens of each perplexity window.
const N_CTX: usize = 256;

/// Tokens of text to measure on: enough to tell types apart, few enough for seconds.
const N_MEASURED: usize = 4096;

/// Runs the demo.
pub(crate) fn run(args: Demo) -> Result {
    let (folder, keep) = match &args.keep {
        Some(folder) => (folder.clone(), true),
        None => {
            (std::env::temp_dir().join(format!("gristmill-demo-{}", std::process::id())), false)
        }
    };
    let result = show(&args, &folder);
    if !keep {
        // A temporary folder that cannot be removed does no harm.
        let _ = fs::remove_dir_all(&folder);
    }
    result
}

fn show(args: &Demo, folder: &Path) -> Result {
    let checkpoint = folder.join("tale-gptj-4m");
    fs::create_dir_all(&checkpoint).map_err(at(checkpoint.display()))?;
    for (name, bytes) in CHECKPOINT {
        let path = checkpoint.join(name);
        fs::write(&path, bytes).map_err(at(path.display()))?;
    }

    let started = Instant::now();
    let opened = gristmill::open(&checkpoint)?;
    let tensors = opened.checkpoint().tensors();
    let parameters: usize = tensors.iter().map(|info| info.shape.numel()).sum();
    let size: u64 = tensors.iter().map(TensorInfo::n_bytes).sum();
    say!("read a checkpoint: GPT-J, {}, no pickle executed", opened.raw().format());
    say!(
        "  {} parameters in {} tensors, {}",
        human::parameters(parameters as u64),
        tensors.len(),
        human::bytes(size)
    );
    say!();

    say!(
        "converted to GGUF, quantized, and measured on {N_MEASURED} tokens of tales it never saw:"
    );
    say!(
        "  {:<6} {:>9} {:>8} {:>12} {:>9} {:>8}",
        "type",
        "size",
        "of F16",
        "perplexity",
        "change",
        "time"
    );
    let mut reference: Option<(u64, f64)> = None;
    let mut smallest = PathBuf::new();
    for outtype in [OutType::F16, OutType::Q8_0, OutType::Q4_0] {
        interrupt_point()?;
        let file = folder.join(format!("tale-gptj-4m-{}.gguf", outtype.name()));
        let options = ConvertOptions { outtype, force: true, ..ConvertOptions::default() };
        let converting = Instant::now();
        gristmill::convert(&checkpoint, &file, &options)?;
        let time = converting.elapsed();
        let size = fs::metadata(&file).map_err(at(file.display()))?.len();
        let measured = measure(&file, args.threads)?;
        let (size_f16, perplexity_f16) = *reference.get_or_insert((size, measured));
        say!(
            "  {:<6} {:>9} {:>6.0} % {measured:>12.2} {:>+7.2} % {:>8}",
            outtype.name(),
            human::bytes(size),
            100.0 * size as f64 / size_f16 as f64,
            100.0 * (measured / perplexity_f16 - 1.0),
            human::duration(time),
        );
        smallest = file;
    }
    say!();

    say!("a story from the Q4_0 file:");
    let loaded = Loaded::open(&smallest, &SourceArgs::default())?;
    let mut session = session(&loaded, 512, 512, args.threads, CacheTypeArg::F16, false)?;
    let prompt = loaded.encode(&args.prompt, true, false)?;
    let sampling = SamplerOptions {
        temp: 0.7,
        top_p: 0.9,
        seed: Some(args.seed),
        ..SamplerOptions::default()
    };
    let options = GenerateOptions { n_predict: Some(120), ..GenerateOptions::default() };
    let tokenizer = loaded.tokenizer()?;
    let mut sampler = Chain::new(sampling);
    let story = gristmill::generate(
        &mut session,
        Some(&tokenizer),
        &mut sampler,
        &prompt,
        &options,
        &mut |_| interrupt::check(),
    )?;
    for line in fold(&format!("{}{} …", args.prompt, story.text.trim_end()), 90) {
        say!("  {line}");
    }
    let rate = story.timings.n_decoded as f64 / story.timings.decode.as_secs_f64().max(1e-9);
    say!();
    say!(
        "{rate:.0} tokens per second; everything above took {}",
        human::duration(started.elapsed())
    );
    Ok(())
}

fn interrupt_point() -> Result {
    if interrupt::check().is_break() { Err(Failure::Interrupted) } else { Ok(()) }
}

/// The perplexity of a file on the held-out tales.
fn measure(file: &Path, threads: Option<usize>) -> Result<f64> {
    let loaded = Loaded::open(file, &SourceArgs::default())?;
    let mut tokens = loaded.encode(HELDOUT, false, false)?;
    tokens.truncate(N_MEASURED);
    let mut session = session(&loaded, N_CTX, N_CTX, threads, CacheTypeArg::F16, false)?;
    let windows = Windows::Sliding { stride: N_CTX };
    let score =
        perplexity(&mut session, &tokens, N_CTX, windows, &mut |_, _, _| interrupt::check())
            .map_err(|error| match error {
                gristmill::verify::Error::Interrupted => Failure::Interrupted,
                other => Failure::Message(other.to_string()),
            })?;
    Ok(score.perplexity())
}

/// Breaks a text into lines of at most `width` characters, at blanks; line breaks in it stay.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_at_blanks() {
        assert_eq!(fold("one two three\n\nfour", 7), ["one two", "three", "", "four"]);
    }
}
