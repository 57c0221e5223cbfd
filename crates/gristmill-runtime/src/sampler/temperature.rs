//! Temperature: below 1 the likely tokens become likelier, above 1 all become more alike (Ackley et al., 1985).

use super::Candidate;

/// Divides the logits by `temp`, which is positive.
pub(super) fn divide(candidates: &mut [Candidate], temp: f32) {
    candidates.iter_mut().for_each(|candidate| candidate.logit /= temp);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_divided() {
        let mut candidates = [Candidate { id: 5, logit: 3.0 }];
        divide(&mut candidates, 0.5);
        assert_eq!(candidates, [Candidate { id: 5, logit: 6.0 }]);
    }
}
