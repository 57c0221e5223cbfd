//! Perplexity of a text under a model.

use std::ops::ControlFlow;

use gristmill_runtime::Session;

use crate::score::nll;
use crate::{Score, Windows};

/// Why a text cannot be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is too short to score anything.
    #[error("the text has {found} tokens; at least {needed} are needed for a context of {n_ctx}")]
    TooShort {
        /// Tokens of the text.
        found: usize,
        /// Tokens that it takes.
        needed: usize,
        /// The context.
        n_ctx: usize,
    },
    /// The context or stride is too small to score anything.
    #[error("a context of {n_ctx} tokens with stride {stride} scores nothing")]
    NothingScored {
        /// The context.
        n_ctx: usize,
        /// The stride.
        stride: usize,
    },
    /// Running failed.
    #[error(transparent)]
    Runtime(#[from] gristmill_runtime::Error),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// The result of scoring.
pub type Result<T> = std::result::Result<T, Error>;

/// Scores `tokens` in windows of `n_ctx`; the session's context must hold as many. `progress` is told how many of
/// how many windows are done and the score so far.
///
/// # Errors
/// [`Error::TooShort`], [`Error::NothingScored`], [`Error::Interrupted`] when `progress` breaks off, and whatever
/// running gives.
pub fn perplexity(
    session: &mut Session,
    tokens: &[u32],
    n_ctx: usize,
    windows: Windows,
    progress: &mut dyn FnMut(usize, usize, &Score) -> ControlFlow<()>,
) -> Result<Score> {
    let stride = match windows {
        Windows::Halves { .. } => n_ctx,
        Windows::Sliding { stride } => stride,
    };
    if n_ctx < 2 || stride == 0 || stride > n_ctx {
        return Err(Error::NothingScored { n_ctx, stride });
    }
    let needed = if matches!(windows, Windows::Halves { .. }) { 2 * n_ctx } else { 2 };
    if tokens.len() < needed {
        return Err(Error::TooShort { found: tokens.len(), needed, n_ctx });
    }

    let spans = windows.spans(tokens.len(), n_ctx);
    let n_vocab = session.model().n_vocab();
    let mut score = Score::default();
    for (done, span) in spans.iter().enumerate() {
        let mut piece = tokens[span.tokens.clone()].to_vec();
        if let Windows::Halves { bos: Some(bos) } = windows {
            piece[0] = bos;
        }
        session.rewind(0);
        session.feed_all(&piece, &mut |first, logits| {
            for (row, logits) in logits.chunks_exact(n_vocab).enumerate() {
                // The logits at a position predict the token after it.
                let target = span.tokens.start + first + row + 1;
                if span.scored.contains(&target) {
                    score.add(nll(logits, tokens[target] as usize));
                }
            }
        })?;
        if progress(done + 1, spans.len(), &score).is_break() {
            return Err(Error::Interrupted);
        }
    }
    if score.n_tokens == 0 {
        return Err(Error::NothingScored { n_ctx, stride });
    }
    Ok(score)
}
