//! Choosing the next token from logits: llama.cpp's chain, with its names, defaults and order.
//!
//! ```text
//! logits ─penalties─▶ ─top_k─▶ candidates ─top_p─▶ ─min_p─▶ ─temperature─▶ ─dist─▶ token
//! ```
//!
//! Each rule is a file of its own. Candidates are sorted, the likeliest first and of equals the one with the lower
//! id, so cutting is truncation. NaN counts as the least likely.

mod dist;
mod min_p;
mod penalties;
mod rng;
mod temperature;
mod top_k;
mod top_p;

use std::cmp::Ordering;

use crate::TokenId;

use penalties::Penalties;
use rng::Rng;

/// Chooses tokens.
pub trait Sampler {
    /// The next token, given the logits of all.
    fn sample(&mut self, logits: &[f32]) -> TokenId;

    /// Tells the sampler of a token that is now in the text, of a prompt or sampled.
    fn accept(&mut self, token: TokenId);
}

/// The settings of a [`Chain`].
#[derive(Clone, Debug)]
pub struct SamplerOptions {
    /// Logits are divided by this; 0 or less always takes the likeliest token.
    pub temp: f32,
    /// Only this many likeliest tokens are considered; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens that together have this probability are considered; 1 for all.
    pub top_p: f32,
    /// Only tokens with at least this share of the likeliest one's probability are considered; 0 for all.
    pub min_p: f32,
    /// Divides (if positive, else multiplies) the logits of recent tokens; 1 for none.
    pub repeat_penalty: f32,
    /// How many tokens are recent; 0 for no penalties.
    pub repeat_last_n: usize,
    /// Subtracted from the logits of recent tokens.
    pub presence_penalty: f32,
    /// Subtracted from the logits of recent tokens, as often as they occur.
    pub frequency_penalty: f32,
    /// Seed of the dice; `None` for another one each time.
    pub seed: Option<u64>,
}

impl Default for SamplerOptions {
    fn default() -> SamplerOptions {
        SamplerOptions {
            temp: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: None,
        }
    }
}

/// A token that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: TokenId,
    pub(crate) logit: f32,
}

impl Candidate {
    /// The likelier first, of equals the lower id; NaN last.
    fn order(&self, other: &Candidate) -> Ordering {
        let rank = |candidate: &Candidate| (!candidate.logit.is_nan(), candidate.logit);
        let (a, b) = (rank(self), rank(other));
        b.partial_cmp(&a).unwrap_or(Ordering::Equal).then(self.id.cmp(&other.id))
    }
}

/// The probabilities of sorted candidates relative to the first, which has 1.
fn weights(candidates: &[Candidate]) -> impl Iterator<Item = f64> + Clone {
    let first = candidates.first().map_or(0.0, |candidate| candidate.logit);
    candidates.iter().map(move |candidate| {
        let weight = f64::from(candidate.logit - first).exp();
        // Minus infinity from itself, or NaN: such candidates are left only when there are no better ones.
        if weight.is_nan() { 1.0 } else { weight }
    })
}

/// All rules one after the other.
#[derive(Clone, Debug)]
pub struct Chain {
    options: SamplerOptions,
    penalties: Penalties,
    rng: Rng,
    seed: u64,
    /// Memory for logits with penalties.
    penalized: Vec<f32>,
    candidates: Vec<Candidate>,
}

impl Chain {
    /// A chain with these settings, before the first token.
    pub fn new(options: SamplerOptions) -> Chain {
        let seed = options.seed.unwrap_or_else(rng::random_seed);
        let penalties = Penalties::new(&options);
        Chain {
            penalties,
            rng: Rng::new(seed),
            seed,
            penalized: Vec::new(),
            candidates: Vec::new(),
            options,
        }
    }

    /// The seed in use, with which a run can be repeated.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl Sampler for Chain {
    fn sample(&mut self, logits: &[f32]) -> TokenId {
        let logits = if self.penalties.are_idle() {
            logits
        } else {
            self.penalized.clear();
            self.penalized.extend_from_slice(logits);
            self.penalties.apply(&mut self.penalized);
            &self.penalized
        };
        let candidates = &mut self.candidates;
        if self.options.temp <= 0.0 {
            top_k::keep(logits, 1, candidates);
            return candidates.first().map_or(0, |candidate| candidate.id);
        }
        top_k::keep(logits, self.options.top_k, candidates);
        top_p::cut(candidates, self.options.top_p);
        min_p::cut(candidates, self.options.min_p);
        temperature::divide(candidates, self.options.temp);
        dist::choose(candidates, self.rng.uniform())
    }

    fn accept(&mut self, token: TokenId) {
        self.penalties.accept(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each token is chosen in many draws.
    fn shares(options: SamplerOptions, logits: &[f32]) -> Vec<f64> {
        const DRAWS: usize = 40_000;
        let mut chain = Chain::new(SamplerOptions { seed: Some(7), ..options });
        let mut counts = vec![0usize; logits.len()];
        for _ in 0..DRAWS {
            counts[chain.sample(logits) as usize] += 1;
        }
        counts.into_iter().map(|count| count as f64 / DRAWS as f64).collect()
    }

    fn assert_shares(options: SamplerOptions, logits: &[f32], expected: &[f64]) {
        for (i, (share, expected)) in shares(options, logits).into_iter().zip(expected).enumerate()
        {
            let deviation = (expected * (1.0 - expected) / 40_000.0).sqrt();
            assert!(
                (share - expected).abs() <= 4.0 * deviation,
                "token {i}: {share} instead of {expected}"
            );
        }
    }

    const NEUTRAL: SamplerOptions = SamplerOptions {
        temp: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repeat_penalty: 1.0,
        repeat_last_n: 64,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        seed: None,
    };

    /// The logits of the probabilities 0.1, 0.4, 0.2 and 0.3.
    fn logits() -> [f32; 4] {
        [0.1f32, 0.4, 0.2, 0.3].map(|p| p.ln() + 3.0)
    }

    #[test]
    fn the_neutral_chain_draws_from_the_softmax() {
        assert_shares(NEUTRAL, &logits(), &[0.1, 0.4, 0.2, 0.3]);
    }

    #[test]
    fn each_rule_gives_the_distribution_computed_by_hand() {
        let top_k = SamplerOptions { top_k: 2, ..NEUTRAL };
        assert_shares(top_k, &logits(), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        // 0.4 + 0.3 is less than 0.75, with 0.2 it is more.
        let top_p = SamplerOptions { top_p: 0.75, ..NEUTRAL };
        assert_shares(top_p, &logits(), &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        let min_p = SamplerOptions { min_p: 0.6, ..NEUTRAL };
        assert_shares(min_p, &logits(), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        // Half the temperature squares the probabilities.
        let temp = SamplerOptions { temp: 0.5, ..NEUTRAL };
        assert_shares(temp, &logits(), &[1.0 / 30.0, 16.0 / 30.0, 4.0 / 30.0, 9.0 / 30.0]);
    }

    #[test]
    fn rules_follow_each_other_in_order() {
        // Top-k leaves 0.4, 0.3, 0.2; of these top-p of 0.7 keeps two; the temperature comes last and cuts nothing.
        let options = SamplerOptions { top_k: 3, top_p: 0.7, temp: 0.5, ..NEUTRAL };
        assert_shares(options, &logits(), &[0.0, 16.0 / 25.0, 0.0, 9.0 / 25.0]);
    }

    #[test]
    fn no_temperature_takes_the_largest_and_of_equals_the_first() {
        let mut chain = Chain::new(SamplerOptions { temp: 0.0, ..NEUTRAL });
        assert_eq!(chain.sample(&[1.0, 3.0, 2.0, 3.0]), 1);
        assert_eq!(chain.sample(&[f32::NAN, f32::NEG_INFINITY, -5.0]), 2);
        assert_eq!(chain.sample(&[f32::NAN, f32::NAN]), 0);
    }

    #[test]
    fn repeated_tokens_lose() {
        let options =
            SamplerOptions { temp: 0.0, repeat_penalty: 2.0, repeat_last_n: 2, ..NEUTRAL };
        let mut chain = Chain::new(options);
        let logits = [3.0, 2.0, -1.0, 1.8];
        let mut written = Vec::new();
        for _ in 0..5 {
            let token = chain.sample(&logits);
            chain.accept(token);
            written.push(token);
        }
        assert_eq!(written, [0, 1, 3, 0, 1]);
    }

    #[test]
    fn a_seed_repeats_a_run_and_another_seed_does_not() {
        let logits: Vec<f32> = (0..1000).map(|i| ((i * 37) % 100) as f32 / 50.0).collect();
        let draw = |seed| -> Vec<TokenId> {
            let mut chain = Chain::new(SamplerOptions { seed, ..SamplerOptions::default() });
            (0..50).map(|_| chain.sample(&logits)).collect()
        };
        assert_eq!(draw(Some(1)), draw(Some(1)));
        assert_ne!(draw(Some(1)), draw(Some(2)));
        assert_ne!(draw(None), draw(None));
    }

    #[test]
    fn hopeless_logits_still_give_a_token() {
        for logits in [[f32::NEG_INFINITY; 3], [f32::NAN; 3], [f32::INFINITY; 3]] {
            assert!(Chain::new(SamplerOptions::default()).sample(&logits) < 3);
        }
    }
}
