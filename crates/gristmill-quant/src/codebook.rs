//! The codebook of IQ4_NL and IQ4_XS, and the search for a scale over it: `x ≈ scale · BOOK[code]`, of the least squared
//! error, where each error counts by the square of its element.

use crate::lanes::{Groups, Lanes, map};
use crate::signed::{TINY, largest};

/// What the 16 codes stand for, in units of the scale.
pub(crate) const BOOK: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// The codes themselves.
const CODES: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// Elements of a group.
const N: usize = 32;

/// The scale of each group; 0 for a group of zeros.
///
/// Tried are the scales that give the largest element -127, from the book's lowest entry, and seven smaller and larger
/// numbers.
#[inline(always)]
pub(crate) fn try_scales(x: &Groups<N>) -> Lanes {
    let largest = largest(x);
    let first = -largest / Lanes::splat(BOOK[0]);
    let (product, square) = judged(x, Lanes::splat(1.0) / first);
    let mut scale = (product / square).where_met(square.greater(Lanes::ZERO), Lanes::ZERO);
    let mut best = scale * product;
    for trial in -7i8..=7 {
        let (product, square) = judged(x, Lanes::splat(f32::from(trial) + BOOK[0]) / largest);
        let better = square.greater(Lanes::ZERO);
        let better = better.and((product * product).greater(best * square));
        scale = (product / square).where_met(better, scale);
        best = (scale * product).where_met(better, best);
    }
    Lanes::ZERO.where_met(Lanes::splat(TINY).greater(largest.abs()), scale)
}

/// `Σ w·x·entry` and `Σ w·entry²` of the entries that a scale gives.
#[inline(always)]
fn judged(x: &Groups<N>, inverse: Lanes) -> (Lanes, Lanes) {
    let (mut product, mut square) = (Lanes::ZERO, Lanes::ZERO);
    for &x in x {
        let (weight, entry) = (x * x, pick(&BOOK, inverse * x));
        product = product + weight * entry * x;
        square = square + weight * entry * entry;
    }
    (product, square)
}

/// The codes for these scales; 8, the entry nearest to zero, where a scale is zero.
#[inline(always)]
pub(crate) fn codes(x: &Groups<N>, scale: Lanes) -> Groups<N> {
    let inverse = Lanes::splat(1.0) / scale;
    let inverse = inverse.where_met(scale.abs().greater(Lanes::ZERO), Lanes::ZERO);
    map(x, |x| pick(&CODES, inverse * x))
}

/// What `table` has for the entry of the book that is nearest to `x`; the larger one of two as near.
///
/// It is the sum of all steps of the table below `x`: exact, and no reason for a branch.
#[inline(always)]
fn pick(table: &[f32; 16], x: Lanes) -> Lanes {
    let mut picked = Lanes::splat(table[0]);
    for code in 1..16 {
        let middle = (BOOK[code - 1] + BOOK[code]) / 2.0;
        let step = table[code] - table[code - 1];
        picked = picked + x.map(|x| if x < middle { 0.0 } else { step });
    }
    picked
}
