//! Penalties for tokens that occurred recently: repetition (Keskar et al., 2019), presence and frequency (OpenAI).

use std::collections::{HashMap, VecDeque};

use super::SamplerOptions;
use crate::TokenId;

/// The recent tokens, and what they lose.
#[derive(Clone, Debug)]
pub(super) struct Penalties {
    repeat: f32,
    presence: f32,
    frequency: f32,
    last_n: usize,
    recent: VecDeque<TokenId>,
    counts: HashMap<TokenId, u32>,
}

impl Penalties {
    pub(super) fn new(options: &SamplerOptions) -> Penalties {
        let changes_nothing = options.repeat_penalty == 1.0
            && options.presence_penalty == 0.0
            && options.frequency_penalty == 0.0;
        Penalties {
            repeat: options.repeat_penalty,
            presence: options.presence_penalty,
            frequency: options.frequency_penalty,
            last_n: if changes_nothing { 0 } else { options.repeat_last_n },
            recent: VecDeque::new(),
            counts: HashMap::new(),
        }
    }

    /// Whether no logit would change.
    pub(super) fn are_idle(&self) -> bool {
        self.recent.is_empty()
    }

    /// A token is now in the text.
    pub(super) fn accept(&mut self, token: TokenId) {
        if self.last_n == 0 {
            return;
        }
        if self.recent.len() == self.last_n
            && let Some(old) = self.recent.pop_front()
            && let Some(count) = self.counts.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&old);
            }
        }
        self.recent.push_back(token);
        *self.counts.entry(token).or_default() += 1;
    }

    /// Lowers the logits of recent tokens.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (&token, &count) in &self.counts {
            if let Some(logit) = logits.get_mut(token as usize) {
                // Dividing a negative logit would raise it.
                *logit = if *logit <= 0.0 { *logit * self.repeat } else { *logit / self.repeat };
                *logit -= count as f32 * self.frequency + self.presence;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn penalties(repeat_last_n: usize) -> Penalties {
        Penalties::new(&SamplerOptions {
            repeat_penalty: 2.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            repeat_last_n,
            ..SamplerOptions::default()
        })
    }

    #[test]
    fn recent_tokens_lose_by_their_counts() {
        let mut penalties = penalties(3);
        [9, 1, 1, 2].into_iter().for_each(|token| penalties.accept(token));
        let mut logits = [4.0, 4.0, -4.0, 0.0];
        penalties.apply(&mut logits);
        assert_eq!(logits, [4.0, 4.0 / 2.0 - 0.5 - 0.5, -8.0 - 0.25 - 0.5, 0.0]);
    }

    #[test]
    fn forgotten_and_unknown_tokens_do_not_matter() {
        let mut penalties = penalties(1);
        penalties.accept(0);
        penalties.accept(1_000_000);
        let mut logits = [1.0, 2.0];
        penalties.apply(&mut logits);
        assert_eq!(logits, [1.0, 2.0]);
        assert_eq!(penalties.counts.len(), 1);
    }

    #[test]
    fn without_effect_nothing_is_remembered() {
        let mut penalties = Penalties::new(&SamplerOptions::default());
        penalties.accept(1);
        assert!(penalties.are_idle());
    }
}
