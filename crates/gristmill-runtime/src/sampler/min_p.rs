//! Min-p: only tokens with at least a given share of the likeliest one's probability (Nguyen et al., 2024).

use super::{Candidate, weights};

/// Keeps the candidates that have at least `p` times the probability of the first, which always stays.
pub(super) fn cut(candidates: &mut Vec<Candidate>, p: f32) {
    if p <= 0.0 {
        return;
    }
    let n = weights(candidates).take_while(|&weight| weight >= f64::from(p)).count();
    candidates.truncate(n.max(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_near_the_likeliest_and_at_least_that() {
        let all: Vec<Candidate> = [0.5f32, 0.26, 0.124, 0.116]
            .iter()
            .zip(0..)
            .map(|(p, id)| Candidate { id, logit: p.ln() })
            .collect();
        for (p, n) in [(0.0, 4), (0.2, 4), (0.24, 3), (0.5, 2), (0.9, 1), (2.0, 1)] {
            let mut candidates = all.clone();
            cut(&mut candidates, p);
            assert_eq!(candidates.len(), n, "{p}");
        }
    }
}
