//! Dist: one token by its probability.

use super::{Candidate, weights};
use crate::TokenId;

/// The candidate at the share `uniform`, of `0.0 .. 1.0`, of the cumulated probabilities; 0 when there are none.
pub(super) fn choose(candidates: &[Candidate], uniform: f64) -> TokenId {
    let wanted = uniform * weights(candidates).sum::<f64>();
    let mut sum = 0.0;
    let chosen = candidates.iter().zip(weights(candidates)).find(|(_, weight)| {
        sum += weight;
        sum > wanted
    });
    // Rounding may leave the sum a little below what was wanted.
    chosen.map(|(candidate, _)| candidate).or(candidates.last()).map_or(0, |candidate| candidate.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_candidate_owns_its_share_of_the_line() {
        let candidates: Vec<Candidate> = [(7, 0.5f32), (3, 0.3), (9, 0.2)]
            .map(|(id, p)| Candidate { id, logit: p.ln() })
            .to_vec();
        for (uniform, id) in
            [(0.0, 7), (0.49, 7), (0.51, 3), (0.79, 3), (0.81, 9), (0.999_999_999, 9), (1.0, 9)]
        {
            assert_eq!(choose(&candidates, uniform), id, "{uniform}");
        }
        assert_eq!(choose(&[], 0.5), 0);
    }
}
