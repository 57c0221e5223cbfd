//! Sums of negative log-likelihoods, and what is read off them.

/// The negative log-likelihoods, in nats, that a model gave to the tokens of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Tokens scored.
    pub n_tokens: usize,
    /// Their sum, in nats.
    pub nll: f64,
    /// The sum of their squares.
    nll_squared: f64,
}

impl Score {
    /// Takes one more token's negative log-likelihood.
    pub fn add(&mut self, nll: f64) {
        self.n_tokens += 1;
        self.nll += nll;
        self.nll_squared += nll * nll;
    }

    /// `exp` of the mean negative log-likelihood: among how many equally likely tokens the model as good as chose.
    pub fn perplexity(&self) -> f64 {
        (self.nll / self.n_tokens as f64).exp()
    }

    /// The standard error of [`perplexity`](Self::perplexity), as llama-perplexity prints it behind `+/-`.
    pub fn standard_error(&self) -> f64 {
        let n = self.n_tokens as f64;
        let mean = self.nll / n;
        let variance = self.nll_squared / n - mean * mean;
        if self.n_tokens < 2 || variance <= 0.0 {
            return 0.0;
        }
        (variance / (n - 1.0)).sqrt() * self.perplexity()
    }
}

/// The negative log-likelihood of token `id` under softmax of `logits`, in f64.
pub(crate) fn nll(logits: &[f32], id: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    sum.ln() - f64::from(logits[id] - max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_are_an_even_choice() {
        assert!((nll(&[3.0; 8], 5) - 8f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        assert!(nll(&[1e30, -1e30], 0) < 1e-12);
    }

    #[test]
    fn the_error_of_equal_scores_is_zero() {
        let mut score = Score::default();
        (0..4).for_each(|_| score.add(2.0));
        assert_eq!(score.standard_error(), 0.0);
    }
}
