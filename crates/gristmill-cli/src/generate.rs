//! From the command line's options to a generation, and its figures as ggml's programs print them.

use std::time::Duration;

use gristmill::runtime::{Chain, SamplerOptions, Session};
use gristmill::{GenerateOptions, Generation, Timings};
use serde_json::{Value, json};

use crate::args::{Run, Sampling};
use crate::exit::Result;
use crate::model::Loaded;
use crate::{interrupt, output};

/// The sampler that the options describe.
pub(crate) fn sampler(args: &Sampling, n_ctx: usize) -> Chain {
    Chain::new(SamplerOptions {
        temp: args.temp,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repeat_penalty: args.repeat_penalty,
        repeat_last_n: usize::try_from(args.repeat_last_n).unwrap_or(n_ctx),
        presence_penalty: args.presence_penalty,
        frequency_penalty: args.frequency_penalty,
        seed: u64::try_from(args.seed).ok(),
    })
}

/// Continues the session with `prompt`, showing text as it comes unless JSON was asked for.
pub(crate) fn generate(
    args: &Run,
    loaded: &Loaded,
    session: &mut Session,
    sampler: &mut Chain,
    prompt: &[u32],
) -> Result<Generation> {
    let tokenizer = loaded.tokenizer();
    if let Err(error) = &tokenizer {
        eprintln!("note: there will be no text, only tokens: {error}");
    }
    let tokenizer = tokenizer.ok();
    let options = GenerateOptions {
        n_predict: usize::try_from(args.n_predict).ok(),
        stop: args.stop.clone(),
        ignore_eos: args.ignore_eos,
    };
    let mut show = |text: &str| {
        if !args.json {
            output::text(text);
        }
        interrupt::check()
    };
    let generation =
        gristmill::generate(session, tokenizer.as_deref(), sampler, prompt, &options, &mut show)?;
    Ok(generation)
}

fn rate(n: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { n as f64 / time.as_secs_f64() }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The timings, as ggml's programs print them at the end.
pub(crate) fn print_timings(load: Duration, timings: &Timings) {
    let line = |label: &str, n: usize, unit: &str, time: Duration| {
        let per_token = milliseconds(time) / n.max(1) as f64;
        let rate = rate(n, time);
        eprintln!(
            "{label:>17} = {:10.2} ms / {n:5} {unit} ({per_token:8.2} ms per token, {rate:8.2} tokens per second)",
            milliseconds(time)
        );
    };
    eprintln!();
    eprintln!("{:>17} = {:10.2} ms", "load time", milliseconds(load));
    line("prompt eval time", timings.n_prompt, "tokens", timings.prompt);
    line("eval time", timings.n_decoded, "runs  ", timings.decode);
    let total = timings.prompt + timings.decode;
    let n = timings.n_prompt + timings.n_decoded;
    eprintln!("{:>17} = {:10.2} ms / {n:5} tokens", "total time", milliseconds(total));
}

/// What `--json` ends with.
pub(crate) fn as_json(prompt: &[u32], generation: &Generation, load: Duration) -> Value {
    let timings = &generation.timings;
    json!({
        "prompt_tokens": prompt,
        "tokens": generation.tokens,
        "text": generation.text,
        "finish_reason": generation.finish_reason.name(),
        "timings": {
            "load_ms": milliseconds(load),
            "prompt_n": timings.n_prompt,
            "prompt_ms": milliseconds(timings.prompt),
            "prompt_per_second": rate(timings.n_prompt, timings.prompt),
            "predicted_n": timings.n_decoded,
            "predicted_ms": milliseconds(timings.decode),
            "predicted_per_second": rate(timings.n_decoded, timings.decode),
        },
    })
}
