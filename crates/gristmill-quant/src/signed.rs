//! Two searches for a scale: `x ≈ scale · code` with codes from `-n` to `n - 1` and the least squared error, where each
//! error counts by the square of its element.
//!
//! For given codes the best scale is `Σ w·x·code / Σ w·code²`, and of two sets of codes that one is better for which
//! `(Σ w·x·code)² / Σ w·code²` is larger. One search tries scales, the other changes one code after another.

use crate::lanes::{Groups, LANES, Lanes, map, nearest};

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
///
/// Each step waits for the one before, a division included, so `K` times sixteen groups are worked on in turns.
#[inline(always)]
pub(crate) fn improve_codes<const N: usize, const K: usize>(
    x: &[Groups<N>; K],
    n: u8,
) -> [SignedFit<N>; K] {
    let mut codes = [[Lanes::ZERO; N]; K];
    let mut sums = [Sums::ZERO; K];
    for k in 0..K {
        let inverse = Lanes::splat(-f32::from(n)) / largest(&x[k]);
        codes[k] = map(&x[k], |x| code(inverse * x, n));
        sums[k] = Sums::of(&x[k], inverse, n);
    }
    for _ in 0..5 {
        let mut changed = Lanes::ZERO;
        for i in 0..N {
            for k in 0..K {
                improve(&x[k][i], &mut codes[k][i], &mut sums[k], &mut changed, n);
            }
        }
        if changed.0 == [0.0; _] {
            break;
        }
    }
    std::array::from_fn(|k| {
        SignedFit { scale: sums[k].scale(), codes: codes[k] }.unless_zero(largest(&x[k]), n)
    })
}

/// Gives an element of each group its best code beside the others, and the sums with it; says where that was another.
///
/// Written for one lane, which the compiler turns into all of them: there is no branch in it.
#[inline(always)]
fn improve(x: &Lanes, codes: &mut Lanes, sums: &mut Sums, changed: &mut Lanes, n: u8) {
    let n = i32::from(n);
    for lane in 0..LANES {
        let (x, old) = (x.0[lane], codes.0[lane]);
        let (product, square) = (sums.product.0[lane], sums.square.0[lane]);
        let weight = x * x;
        let others = (product - weight * x * old, square - weight * old * old);
        let new = nearest(x * others.1 / others.0).clamp(-n, n - 1) as f32;
        let all = (others.0 + weight * x * new, others.1 + weight * new * new);
        let better = (others.0 > 0.0)
            & (new != old)
            & (all.1 > 0.0)
            & (all.0 * all.0 * square > product * product * all.1);
        codes.0[lane] = if better { new } else { old };
        sums.product.0[lane] = if better { all.0 } else { product };
        sums.square.0[lane] = if better { all.1 } else { square };
        changed.0[lane] = if better { 1.0 } else { changed.0[lane] };
    }
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
