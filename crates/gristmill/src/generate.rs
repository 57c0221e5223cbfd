//! Writing text: feed, sample, decode, until something says stop.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use gristmill_runtime::{Sampler, Session, TokenId};
use gristmill_tokenizer::{TextStream, Tokenizer};

use crate::Result;
use crate::stop::StopFilter;

/// When to stop.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// The most tokens to write; `None` for as many as the context holds.
    pub n_predict: Option<usize>,
    /// Texts before which to stop.
    pub stop: Vec<String>,
    /// Go on behind end-of-generation tokens.
    pub ignore_eos: bool,
}

/// Why a generation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FinishReason {
    /// The model ended its text, or a stop text was met.
    Stop,
    /// As many tokens as asked for were written, or the context is full.
    Length,
    /// The caller asked to stop.
    Interrupted,
}

impl FinishReason {
    /// The word that APIs use: `stop`, `length`, `interrupted`.
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Interrupted => "interrupted",
        }
    }
}

/// How long the parts of a generation took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Time to process them.
    pub prompt: Duration,
    /// Tokens decoded one by one, which is one less than were written: the first comes from the prompt.
    pub n_decoded: usize,
    /// Time to decode and sample them.
    pub decode: Duration,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The tokens, the one that ended the text not among them.
    pub tokens: Vec<TokenId>,
    /// Their text, up to a stop text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// How long it took.
    pub timings: Timings,
}

/// Continues what `session` holds and `prompt` adds. `on_text` is called after every token with the text that
/// came of it, in whole characters and often empty, and may break off. Afterwards the session holds the prompt and all tokens but the last, which was never fed.
///
/// Without a tokenizer there is no text, only tokens, and only [`GenerateOptions::n_predict`] and the context end it.
///
/// # Errors
/// [`Error::Runtime`](crate::Error::Runtime) when the prompt is empty, does not fit the context, or has ids that the
/// model does not know.
pub fn generate(
    session: &mut Session,
    tokenizer: Option<&Tokenizer>,
    sampler: &mut dyn Sampler,
    prompt: &[TokenId],
    options: &GenerateOptions,
    on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Generation> {
    let started = Instant::now();
    let n_predict = options.n_predict.unwrap_or(usize::MAX);
    prompt.iter().for_each(|&token| sampler.accept(token));
    let mut logits = session.feed(prompt)?.to_vec();
    let mut timings =
        Timings { n_prompt: prompt.len(), prompt: started.elapsed(), ..Timings::default() };

    let decoding = Instant::now();
    let mut stream = tokenizer.map(|tokenizer| TextStream::continuing(tokenizer, true));
    let mut filter = StopFilter::new(&options.stop);
    let (mut tokens, mut text) = (Vec::new(), String::new());
    let mut show = |piece: &str, text: &mut String| {
        text.push_str(piece);
        on_text(piece)
    };
    let mut cut = false;
    let finish_reason = loop {
        if tokens.len() >= n_predict {
            break FinishReason::Length;
        }
        let token = sampler.sample(&logits);
        if !options.ignore_eos && tokenizer.is_some_and(|tokenizer| tokenizer.is_eog(token)) {
            break FinishReason::Stop;
        }
        sampler.accept(token);
        tokens.push(token);
        let piece = stream.as_mut().map(|stream| stream.push(token)).unwrap_or_default();
        let (piece, stopped) = filter.push(&piece);
        let go_on = show(&piece, &mut text);
        if stopped {
            cut = true;
            break FinishReason::Stop;
        }
        if go_on.is_break() {
            break FinishReason::Interrupted;
        }
        if tokens.len() >= n_predict || session.n_past() >= session.n_ctx() {
            break FinishReason::Length;
        }
        logits.copy_from_slice(session.feed(&[token])?);
        timings.n_decoded += 1;
    };
    timings.decode = decoding.elapsed();
    if let Some(stream) = stream.as_mut().filter(|_| !cut) {
        // What was held back as the beginning of a stop text or of a character is text after all.
        let (piece, stopped) = filter.push(&stream.flush());
        let rest = if stopped { String::new() } else { filter.finish() };
        let _ = show(&(piece + &rest), &mut text);
    }
    Ok(Generation { tokens, text, finish_reason, timings })
}
