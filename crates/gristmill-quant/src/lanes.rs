//! Sixteen groups of a block format, fitted side by side: one group per lane of a vector.
//!
//! Finding the scales of a group is a search whose sums must be added in the order of the elements. No two elements of
//! a group can therefore be worked on at once; but sixteen groups can. Everything here is plain arithmetic on arrays,
//! written so that the compiler keeps an array in one vector register (or two, or four); each lane gives the bits that
//! a loop over its group alone would give.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Groups fitted at once.
pub(crate) const LANES: usize = 16;

/// One number of each group.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

/// The elements of sixteen groups of `N`: element `i` of group `g` is `elements[i].0[g]`.
pub(crate) type Groups<const N: usize> = [Lanes; N];

/// `f` of each element. (The array's own `map` is not inlined for long arrays.)
#[inline(always)]
pub(crate) fn map<const N: usize>(x: &Groups<N>, f: impl Fn(Lanes) -> Lanes) -> Groups<N> {
    let mut results = [Lanes::ZERO; N];
    for i in 0..N {
        results[i] = f(x[i]);
    }
    results
}

impl Lanes {
    pub(crate) const ZERO: Lanes = Lanes([0.0; LANES]);

    /// The same number in every lane.
    #[inline(always)]
    pub(crate) fn splat(x: f32) -> Lanes {
        Lanes([x; LANES])
    }

    #[inline(always)]
    pub(crate) fn map(self, f: impl Fn(f32) -> f32) -> Lanes {
        Lanes(std::array::from_fn(|lane| f(self.0[lane])))
    }

    #[inline(always)]
    pub(crate) fn zip(self, other: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
        Lanes(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    pub(crate) fn abs(self) -> Lanes {
        self.map(f32::abs)
    }

    /// The smaller of each two numbers; the first of a lane's where either is NaN.
    #[inline(always)]
    pub(crate) fn min(self, other: Lanes) -> Lanes {
        self.zip(other, |x, y| if y < x { y } else { x })
    }

    /// The larger of each two numbers; the first of a lane's where either is NaN.
    #[inline(always)]
    pub(crate) fn max(self, other: Lanes) -> Lanes {
        self.zip(other, |x, y| if y > x { y } else { x })
    }

    /// The number of largest magnitude, with its sign; the first one on ties, 0 if all are NaN.
    #[inline(always)]
    pub(crate) fn largest(self) -> f32 {
        self.0
            .iter()
            .fold(0.0, |largest: f32, &x| if x.abs() > largest.abs() { x } else { largest })
    }

    /// Each number as the nearest integer, ties to even, from `lowest` to `highest`; see [`nearest`].
    #[inline(always)]
    pub(crate) fn nearest_within(self, lowest: i32, highest: i32) -> Lanes {
        self.map(|x| nearest(x).max(lowest).min(highest) as f32)
    }

    /// Codes from 0 to 255 as bytes.
    #[inline(always)]
    pub(crate) fn to_bytes(self) -> [u8; LANES] {
        // Moved up to where floats are the integers, a number has itself for its low bits.
        self.0.map(|code| (code + (1 << 23) as f32).to_bits() as u8)
    }

    /// Where `condition` is met, these numbers; elsewhere the others.
    #[inline(always)]
    pub(crate) fn where_met(self, condition: Mask, others: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|lane| {
            if condition.0[lane] != 0 { self.0[lane] } else { others.0[lane] }
        }))
    }

    #[inline(always)]
    pub(crate) fn greater(self, other: Lanes) -> Mask {
        Mask(std::array::from_fn(|lane| if self.0[lane] > other.0[lane] { u32::MAX } else { 0 }))
    }
}

/// One condition of each group: all ones where it is met, else zero.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Mask([u32; LANES]);

impl Mask {
    #[inline(always)]
    pub(crate) fn and(self, other: Mask) -> Mask {
        Mask(std::array::from_fn(|lane| self.0[lane] & other.0[lane]))
    }
}

/// `x` rounded to the nearest integer, ties to even, as ggml does it: the low bits of `x + 1.5 · 2^23`.
///
/// Beyond 2^22 these bits are another number, but always the same one; those of NaN mean nothing.
#[inline(always)]
pub(crate) fn nearest(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    ((x + SHIFT).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

macro_rules! lanewise {
    ($($operator:ident $method:ident $symbol:tt;)*) => { $(
        impl $operator for Lanes {
            type Output = Lanes;

            #[inline(always)]
            fn $method(self, other: Lanes) -> Lanes {
                self.zip(other, |x, y| x $symbol y)
            }
        }
    )* };
}

lanewise! {
    Add add +;
    Sub sub -;
    Mul mul *;
    Div div /;
}

impl Neg for Lanes {
    type Output = Lanes;

    #[inline(always)]
    fn neg(self) -> Lanes {
        self.map(|x| -x)
    }
}

/// Sixteen groups of `N` elements that lie one after another.
#[inline(always)]
pub(crate) fn side_by_side<const N: usize>(values: &[f32]) -> Groups<N> {
    let mut groups = [Lanes::ZERO; N];
    for (lane, group) in values.as_chunks::<N>().0.iter().enumerate().take(LANES) {
        for i in 0..N {
            groups[i].0[lane] = group[i];
        }
    }
    groups
}

/// The codes of sixteen groups, one group after another.
#[inline(always)]
pub(crate) fn one_by_one<const N: usize>(codes: &Groups<N>, bytes: &mut [u8]) {
    for i in 0..N {
        let codes = codes[i].to_bytes();
        for (lane, group) in bytes.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            group[i] = codes[lane];
        }
    }
}
