//! Two searches for a scale: `x ≈ scale · code` with codes from `-n` to `n - 1` and the least squared error, where each
//! error counts by the square of its element.
//!
//! For given codes the best scale is `Σ w·x·code / Σ w·code²`, and of two sets of codes that one is better for which
//! `(Σ w·x·code)² / Σ w·code²` is larger. One search tries scales, the other changes one code after another.

use crate::lanes::{Groups, Lanes, map};

/// A group whose largest magnitude is below is zero.
pub(crate) const TINY: f32 = 1e-15;

/// What was found for each group.
pub(crate) struct SignedFit<const N: usize> {
    /// The scales, of either sign.
    pub(crate) scale: Lanes,
    /// Codes plus `n`; a group of zeros has 0.
    codes: Groups<N>,
}

/// The two sums by which codes are judged.
#[derive(Clone, Copy)]
struct Sums {
    /// `Σ w·x·code`.
    product: Lanes,
    /// `Σ w·code²`.
    square: Lanes,
}

impl Sums {
    const ZERO: Sums = Sums { product: Lanes::ZERO, square: Lanes::ZERO };

    /// The sums of the codes that a scale gives.
    #[inline(always)]
    fn of<const N: usize>(x: &Groups<N>, inverse: Lanes, n: u8) -> Sums {
        let mut sums = Sums::ZERO;
        for &x in x {
            sums = sums.plus(x, code(inverse * x, n));
        }
        sums
    }

    /// The sums with one more element.
    #[inline(always)]
    fn plus(self, x: Lanes, code: Lanes) -> Sums {
        let weight = x * x;
        Sums {
            product: self.product + weight * x * code,
            square: self.square + weight * code * code,
        }
    }

    #[inline(always)]
    fn minus(self, x: Lanes, code: Lanes) -> Sums {
        let weight = x * x;
        Sums {
            product: self.product - weight * x * code,
            square: self.square - weight * code * code,
        }
    }

    #[inline(always)]
    fn scale(self) -> Lanes {
        (self.product / self.square).where_met(self.square.greater(Lanes::ZERO), Lanes::ZERO)
    }
}

/// Tries the scale that gives the largest element the code `-n`, and nine smaller and larger ones.
#[inline(always)]
pub(crate) fn try_scales<const N: usize>(x: &Groups<N>, n: u8) -> SignedFit<N> {
    let largest = largest(x);
    let mut inverse = Lanes::splat(-f32::from(n)) / largest;
    let sums = Sums::of(x, inverse, n);
    let mut scale = sums.scale();
    let mut best = scale * sums.product;
    for trial in (-9i8..=9).filter(|&trial| trial != 0) {
        let tried = Lanes::splat(-(f32::from(n) + 0.1 * f32::from(trial))) / largest;
        let sums = Sums::of(x, tried, n);
        let better = sums.square.greater(Lanes::ZERO);
        let better = better.and((sums.product * sums.product).greater(best * sums.square));
        scale = (sums.product / sums.square).where_met(better, scale);
        best = (scale * sums.product).where_met(better, best);
        inverse = tried.where_met(better, inverse);
    }
    SignedFit { scale, codes: map(x, |x| code(inverse * x, n)) }.unless_zero(largest, n)
}

/// Begins with the scale that gives the largest element the code `-n`, then goes over the elements up to five times and
/// gives each the code that is best beside those of the others.
#[inline(always)]
pub(crate) fn improve_codes<const N: usize>(x: &Groups<N>, n: u8) -> SignedFit<N> {
    let largest = largest(x);
    let inverse = Lanes::splat(-f32::from(n)) / largest;
    let mut codes = map(x, |x| code(inverse * x, n));
    let mut sums = Sums::of(x, inverse, n);
    for _ in 0..5 {
        let mut changes = Lanes::ZERO;
        for i in 0..N {
            let others = sums.minus(x[i], codes[i]);
            let changed = code(x[i] * others.square / others.product, n);
            let all = others.plus(x[i], changed);
            let change = (changed - codes[i]).abs();
            let better = others
                .product
                .greater(Lanes::ZERO)
                .and(change.greater(Lanes::ZERO))
                .and(all.square.greater(Lanes::ZERO))
                .and(
                    (all.product * all.product * sums.square)
                        .greater(sums.product * sums.product * all.square),
                );
            codes[i] = changed.where_met(better, codes[i]);
            sums.product = all.product.where_met(better, sums.product);
            sums.square = all.square.where_met(better, sums.square);
            changes = change.where_met(better, changes);
        }
        if changes.0 == [0.0; _] {
            break;
        }
    }
    SignedFit { scale: sums.scale(), codes }.unless_zero(largest, n)
}

impl<const N: usize> SignedFit<N> {
    /// Moves codes up by `n`, and gives groups of zeros no scale.
    #[inline(always)]
    fn unless_zero(self, largest: Lanes, n: u8) -> SignedFit<N> {
        let zero = Lanes::splat(TINY).greater(largest.abs());
        SignedFit {
            scale: Lanes::ZERO.where_met(zero, self.scale),
            codes: map(&self.codes, |code| {
                Lanes::ZERO.where_met(zero, code + Lanes::splat(n.into()))
            }),
        }
    }

    /// Codes plus `n` for scales as they are stored; those of the search where a scale was stored as zero.
    #[inline(always)]
    pub(crate) fn recode(&self, x: &Groups<N>, n: u8, scale: Lanes) -> Groups<N> {
        let stored = scale.abs().greater(Lanes::ZERO);
        let mut codes = self.codes;
        for i in 0..N {
            let recoded = code(x[i] / scale, n) + Lanes::splat(n.into());
            codes[i] = recoded.where_met(stored, codes[i]);
        }
        codes
    }
}

/// The element of largest magnitude, with its sign; the first one on ties.
#[inline(always)]
pub(crate) fn largest<const N: usize>(x: &Groups<N>) -> Lanes {
    let mut largest = Lanes::ZERO;
    for x in x {
        largest = x.where_met(x.abs().greater(largest.abs()), largest);
    }
    largest
}

#[inline(always)]
fn code(x: Lanes, n: u8) -> Lanes {
    x.nearest_within(-i32::from(n), i32::from(n) - 1)
}
