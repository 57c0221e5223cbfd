//! How a long text is cut into pieces that fit a context, and which tokens of each piece are scored.

use std::ops::Range;

/// How a text is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Windows {
    /// llama-perplexity's way: chunks side by side, a rest left out; the first token of each replaced by `bos`; of
    /// `n_ctx` tokens those from position `n_ctx / 2 + 1` on are scored, each from all before it in the chunk.
    Halves {
        /// The beginning-of-text token, where the model wants one.
        bos: Option<u32>,
    },
    /// Hugging Face's sliding window: a window of `n_ctx` tokens every `stride` tokens, in which the tokens are
    /// scored that no earlier window held; a window's first token is never scored.
    Sliding {
        /// Tokens from one window to the next.
        stride: usize,
    },
}

/// One piece of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its tokens, as positions in the text.
    pub tokens: Range<usize>,
    /// The tokens that are scored, as positions in the text.
    pub scored: Range<usize>,
}

impl Windows {
    /// The pieces of a text of `n_tokens` for a context of `n_ctx`.
    pub fn spans(&self, n_tokens: usize, n_ctx: usize) -> Vec<Span> {
        match *self {
            Windows::Halves { .. } => (0..n_tokens / n_ctx)
                .map(|chunk| {
                    let tokens = chunk * n_ctx..(chunk + 1) * n_ctx;
                    let scored = tokens.start + n_ctx / 2 + 1..tokens.end;
                    Span { tokens, scored }
                })
                .collect(),
            Windows::Sliding { stride } => {
                let mut spans = Vec::new();
                let mut seen = 0;
                for start in (0..n_tokens).step_by(stride.max(1)) {
                    let end = (start + n_ctx).min(n_tokens);
                    spans.push(Span { tokens: start..end, scored: seen.max(start + 1)..end });
                    seen = end;
                    if end == n_tokens {
                        break;
                    }
                }
                spans
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_leave_out_the_rest() {
        let spans = Windows::Halves { bos: None }.spans(1100, 512);
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[1], Span { tokens: 512..1024, scored: 512 + 257..1024 });
    }

    #[test]
    fn a_sliding_window_scores_every_token_but_the_first() {
        let spans = Windows::Sliding { stride: 256 }.spans(8895, 512);
        let scored: Vec<usize> = spans.iter().flat_map(|span| span.scored.clone()).collect();
        assert_eq!(scored, (1..8895).collect::<Vec<_>>());
    }

    #[test]
    fn windows_side_by_side_lose_their_first_tokens() {
        let spans = Windows::Sliding { stride: 512 }.spans(8895, 512);
        let scored: usize = spans.iter().map(|span| span.scored.len()).sum();
        assert_eq!(scored, 8895 - 18);
    }
}
