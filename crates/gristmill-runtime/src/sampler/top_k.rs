//! Top-k: only the likeliest tokens are considered (Fan et al., 2018).
//!
//! Most tokens are far below the threshold, so runs of them are skipped after a look at their largest.

use super::Candidate;
use crate::TokenId;

/// Tokens looked at together.
const RUN: usize = 32;

/// Leaves the `k` likeliest tokens (all for 0) in `candidates`, sorted.
pub(super) fn keep(logits: &[f32], k: usize, candidates: &mut Vec<Candidate>) {
    candidates.clear();
    let k = if k == 0 { logits.len() } else { k.min(logits.len()) };
    // Candidates are gathered up to twice the number and then cut; the worst that stays is the threshold.
    let room = 2 * k.max(RUN);
    let mut threshold: Option<f32> = None;
    for (run, logits) in logits.chunks(RUN).enumerate() {
        if let Some(threshold) = threshold
            && logits.iter().fold(f32::NEG_INFINITY, |largest, &logit| largest.max(logit))
                <= threshold
        {
            continue;
        }
        for (i, &logit) in logits.iter().enumerate() {
            // A token equal to the threshold has a higher id than all candidates, and so loses.
            if threshold.is_none_or(|threshold| logit > threshold) {
                candidates.push(Candidate { id: (run * RUN + i) as TokenId, logit });
            }
        }
        if candidates.len() >= room + RUN {
            candidates.select_nth_unstable_by(k - 1, Candidate::order);
            candidates.truncate(k);
            threshold = Some(candidates[k - 1].logit).filter(|logit| !logit.is_nan());
        }
    }
    candidates.sort_unstable_by(Candidate::order);
    candidates.truncate(k);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By sorting everything.
    fn reference(logits: &[f32], k: usize) -> Vec<TokenId> {
        let mut ids: Vec<usize> = (0..logits.len()).collect();
        ids.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        ids.truncate(if k == 0 { logits.len() } else { k });
        ids.into_iter().map(|id| id as TokenId).collect()
    }

    #[test]
    fn agrees_with_sorting_everything() {
        let mut state = 1u64;
        let mut next = |values: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % values) as f32
        };
        for n in [1, 31, 32, 33, 100, 5000] {
            // Many ties, few ties, and rising and falling order.
            let lists = [
                (0..n).map(|_| next(5)).collect::<Vec<f32>>(),
                (0..n).map(|_| next(1 << 20)).collect(),
                (0..n).map(|i| i as f32).collect(),
                (0..n).map(|i| -(i as f32)).collect(),
            ];
            for logits in lists {
                for k in [0, 1, 2, 40, 200, n] {
                    let mut candidates = Vec::new();
                    keep(&logits, k, &mut candidates);
                    let ids: Vec<TokenId> =
                        candidates.iter().map(|candidate| candidate.id).collect();
                    assert_eq!(ids, reference(&logits, k), "{k} of {n}");
                }
            }
        }
    }

    #[test]
    fn nan_comes_last() {
        let mut logits = vec![f32::NAN; 1000];
        logits[700] = -3.0;
        let mut candidates = Vec::new();
        keep(&logits, 2, &mut candidates);
        assert_eq!(candidates[0].id, 700);
        assert_eq!(candidates[1].id, 0);
    }
}
