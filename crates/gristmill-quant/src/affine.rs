//! The search for a scale and a minimum: `x ≈ scale · code - min` with codes from 0 to `highest`, the least weighted
//! error over a range of trial scales.
//!
//! For each trial, codes are rounded by it and the best scale and minimum *for these codes* follow from a weighted
//! least-squares fit in closed form; the trial with the least error wins. The minimum never lets zero out of range.

use crate::lanes::{Groups, Lanes, map};

/// How a format searches.
pub(crate) struct Affine {
    /// The largest code.
    pub(crate) highest: u8,
    /// The first trial makes the largest element `highest + first`; each further one a tenth more.
    pub(crate) first: f32,
    /// The number of the last trial.
    pub(crate) last: u8,
    /// Whether errors are counted squared, or else as they are.
    pub(crate) squared: bool,
}

/// What was found for each group.
pub(crate) struct AffineFit {
    pub(crate) scale: Lanes,
    /// What is subtracted; never negative.
    pub(crate) min: Lanes,
    /// The trial that won: codes are `(x - lowest) · inverse`, rounded.
    inverse: Lanes,
    lowest: Lanes,
}

impl Affine {
    #[inline(always)]
    fn codes(&self, x: Lanes, inverse: Lanes, lowest: Lanes) -> Lanes {
        (inverse * (x - lowest)).nearest_within(0, self.highest.into())
    }

    #[inline(always)]
    fn error<const N: usize>(
        &self,
        x: &Groups<N>,
        weights: &Groups<N>,
        codes: &Groups<N>,
        scale: Lanes,
        lowest: Lanes,
    ) -> Lanes {
        let mut error = Lanes::ZERO;
        for i in 0..N {
            let off = scale * codes[i] + lowest - x[i];
            let off = if self.squared { off * off } else { off.abs() };
            error = error + weights[i] * off;
        }
        error
    }

    /// Searches.
    #[inline(always)]
    pub(crate) fn fit<const N: usize>(&self, x: &Groups<N>, weights: &Groups<N>) -> AffineFit {
        let highest = Lanes::splat(self.highest.into());
        let (mut lowest, mut largest) = (x[0], x[0]);
        let mut sum_w = weights[0];
        let mut sum_x = sum_w * x[0];
        for i in 1..N {
            lowest = lowest.min(x[i]);
            largest = largest.max(x[i]);
            sum_w = sum_w + weights[i];
            sum_x = sum_x + weights[i] * x[i];
        }
        lowest = lowest.map(|x| if x > 0.0 { 0.0 } else { x });
        let (range, untried) = (largest - lowest, lowest);

        let mut codes = [Lanes::ZERO; N];
        let mut inverse = highest / range;
        let mut scale = Lanes::splat(1.0) / inverse;
        for i in 0..N {
            codes[i] = self.codes(x[i], inverse, lowest);
        }
        let mut best = self.error(x, weights, &codes, scale, lowest);
        let mut offset = lowest;
        for trial in 0..=self.last {
            let steps = self.first + 0.1 * f32::from(trial) + f32::from(self.highest);
            let trial_inverse = Lanes::splat(steps) / (largest - lowest);
            let (mut sum_l, mut sum_l2, mut sum_xl) = (Lanes::ZERO, Lanes::ZERO, Lanes::ZERO);
            for i in 0..N {
                codes[i] = self.codes(x[i], trial_inverse, lowest);
                let wl = weights[i] * codes[i];
                sum_l = sum_l + wl;
                sum_l2 = sum_l2 + wl * codes[i];
                sum_xl = sum_xl + wl * x[i];
            }
            let determinant = sum_w * sum_l2 - sum_l * sum_l;
            let fitted = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let fitted_lowest = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            let above = fitted_lowest.greater(Lanes::ZERO);
            let fitted_lowest = Lanes::ZERO.where_met(above, fitted_lowest);
            let fitted = (sum_xl / sum_l2).where_met(above, fitted);
            let error = self.error(x, weights, &codes, fitted, fitted_lowest);
            let better = determinant.greater(Lanes::ZERO).and(best.greater(error));
            best = error.where_met(better, best);
            scale = fitted.where_met(better, scale);
            inverse = trial_inverse.where_met(better, inverse);
            offset = lowest.where_met(better, offset);
            lowest = fitted_lowest.where_met(better, lowest);
        }
        // The same number throughout, zero or negative, needs a minimum and no codes.
        let varied = range.greater(Lanes::ZERO);
        AffineFit {
            scale: scale.where_met(varied, Lanes::ZERO),
            min: -lowest.where_met(varied, untried),
            inverse: inverse.where_met(varied, Lanes::ZERO),
            lowest: offset,
        }
    }

    /// The codes for scales and minimums as they are stored; those of the search where a scale was stored as zero.
    #[inline(always)]
    pub(crate) fn recode<const N: usize>(
        &self,
        x: &Groups<N>,
        scale: Lanes,
        min: Lanes,
        fit: &AffineFit,
    ) -> Groups<N> {
        let stored = scale.abs().greater(Lanes::ZERO);
        map(x, |x| {
            let code = ((x + min) / scale).nearest_within(0, self.highest.into());
            code.where_met(stored, self.codes(x, fit.inverse, fit.lowest))
        })
    }
}
