//! Top-p: only the likeliest tokens that together have a given probability (Holtzman et al., 2019).

use super::{Candidate, weights};

/// Keeps the fewest candidates, at least one, whose probabilities reach `p` of those of all.
pub(super) fn cut(candidates: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 {
        return;
    }
    let needed = f64::from(p) * weights(candidates).sum::<f64>();
    let mut sum = 0.0;
    let before = weights(candidates).position(|weight| {
        sum += weight;
        sum >= needed
    });
    candidates.truncate(before.map_or(candidates.len(), |before| before + 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_reaches_the_probability_and_at_least_one() {
        let all: Vec<Candidate> = [0.5f32, 0.25, 0.125, 0.125]
            .iter()
            .zip(0..)
            .map(|(p, id)| Candidate { id, logit: p.ln() })
            .collect();
        for (p, n) in [(-1.0, 1), (0.0, 1), (0.49, 1), (0.51, 2), (0.76, 3), (0.9, 4), (1.0, 4)] {
            let mut candidates = all.clone();
            cut(&mut candidates, p);
            assert_eq!(candidates.len(), n, "{p}");
        }
    }
}
