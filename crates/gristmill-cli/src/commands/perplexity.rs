//! `perplexity`: how well a model predicts a text.

use std::io::IsTerminal;
use std::time::Instant;

use gristmill::verify::{Windows, perplexity};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::args::Perplexity;
use crate::exit::{Failure, Result, at};
use crate::model::{self, Loaded};
use crate::output::say;
use crate::{human, interrupt};

/// Measures and prints.
pub(crate) fn run(args: Perplexity) -> Result {
    let text = std::fs::read_to_string(&args.file).map_err(at(args.file.display()))?;
    let loaded = Loaded::open(&args.model, &args.source_args)?;
    // With a stride the text is taken as it stands, as Hugging Face's recipe does; otherwise as llama-perplexity does.
    let tokens = loaded.encode(&text, args.stride.is_none(), false)?;
    let tokenizer = loaded.tokenizer()?;
    let windows = match args.stride {
        Some(stride) => Windows::Sliding { stride },
        None => Windows::Halves { bos: tokenizer.bos().filter(|_| tokenizer.adds_bos()) },
    };
    let mut session =
        model::session(&loaded, args.ctx, args.ctx.min(512), args.threads, args.cache_type, false)?;

    let draw = !args.quiet && !args.json && std::io::stderr().is_terminal();
    let bar = if draw { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} windows  {eta} left  perplexity {msg}");
    bar.set_style(style.expect("the template is constant and right"));
    let started = Instant::now();
    let score = perplexity(&mut session, &tokens, args.ctx, windows, &mut |done, total, score| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(format!("{:.4}", score.perplexity()));
        interrupt::check()
    })
    .map_err(|error| match error {
        gristmill::verify::Error::Interrupted => Failure::Interrupted,
        other => Failure::Message(format!("{}: {other}", args.file.display())),
    })?;
    bar.finish_and_clear();

    let elapsed = started.elapsed();
    if args.json {
        say!(
            "{}",
            json!({
                "perplexity": score.perplexity(),
                "standard_error": score.standard_error(),
                "mean_nll": score.nll / score.n_tokens as f64,
                "tokens": tokens.len(),
                "tokens_scored": score.n_tokens,
                "ctx": args.ctx,
                "stride": args.stride,
                "seconds": elapsed.as_secs_f64(),
            })
        );
    } else {
        say!("perplexity {:.4} +/- {:.5}", score.perplexity(), score.standard_error());
        say!(
            "  {} of {} tokens scored in {}",
            score.n_tokens,
            tokens.len(),
            human::duration(elapsed)
        );
    }
    Ok(())
}
