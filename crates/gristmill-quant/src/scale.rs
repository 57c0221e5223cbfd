//! Scales of the 32-element formats, and the rounding of codes.
//!
//! Codes are found by multiplying with `1/d`, where `d` is the scale *before* it is rounded to `f16`. That is how
//! ggml does it, so it is part of the format: dividing, or using the stored scale, gives other bytes.
//!
//! The scans for extremes run in eight independent lanes, which the compiler keeps in vector registers.

use wide::{f32x8, i16x8, i32x8, u8x16};

/// The reciprocal used for codes: 0 for the scale of a zero block.
///
/// Below about 3e-39 the reciprocal overflows. ggml then casts infinities, which on x86-64 gives code 0 for every
/// element; a NaN here does the same everywhere, because NaNs truncate to integers whose low byte is 0.
#[inline(always)]
fn reciprocal(d: f32) -> f32 {
    let id = 1.0 / d;
    match d {
        0.0 => 0.0,
        _ if id.is_infinite() => f32::NAN,
        _ => id,
    }
}

/// The scale of a format whose codes reach from `lowest` (a negative number) to almost `-lowest`.
///
/// The element of largest magnitude, the first one on ties, gets the code `lowest`, so `d` may be negative. Returns
/// `d` and its reciprocal; a zero block has `d = -0.0`.
#[inline(always)]
pub(crate) fn signed_scale(values: &[f32; 32], lowest: f32) -> (f32, f32) {
    let (min, max) = extremes(values);
    let largest = if max > -min {
        max
    } else if max < -min {
        min
    } else {
        first(values, |x| x.abs() == max.abs())
    };
    // Adding zero turns -0.0 into 0.0, so that all zero blocks are alike.
    let d = (largest + 0.0) / lowest;
    (d, reciprocal(d))
}

/// The scale and offset of a format whose codes reach from 0, for the smallest value, to `highest`, for the largest.
///
/// Returns `d`, the minimum and the reciprocal of `d`.
#[inline(always)]
pub(crate) fn affine_scale(values: &[f32; 32], highest: f32) -> (f32, f32, f32) {
    let (min, max) = extremes(values);
    // Zeros of both signs are equal; the stored minimum has the sign of the first.
    let min = if min == 0.0 { first(values, |x| x == 0.0) } else { min };
    let range = if max == min { 0.0 } else { max - min };
    let d = range / highest;
    (d, min, reciprocal(d))
}

/// The scale of a format with codes from `-highest` to `highest`. Returns `d` and its reciprocal.
#[inline(always)]
pub(crate) fn symmetric_scale(values: &[f32; 32], highest: f32) -> (f32, f32) {
    let (min, max) = extremes(values);
    let d = max.abs().max(min.abs()) / highest;
    (d, reciprocal(d))
}

/// The codes of a block: `formula` of each value, without its fraction, as the low byte of an integer.
#[inline(always)]
pub(crate) fn truncate(values: &[f32; 32], formula: impl Fn(f32x8) -> f32x8) -> [u8; 32] {
    let low_bytes = |values: &[f32; 8]| {
        let integers = formula(f32x8::from(*values)).fast_trunc_int();
        i16x8::from_i32x8_saturate(integers & i32x8::splat(255))
    };
    let mut codes = [0; 32];
    for (codes, values) in codes.as_chunks_mut::<16>().0.iter_mut().zip(values.as_chunks::<16>().0)
    {
        let values = values.as_chunks::<8>().0;
        *codes = u8x16::narrow_i16x8(low_bytes(&values[0]), low_bytes(&values[1])).to_array();
    }
    codes
}

/// What must be truncated to round `x` to the nearest integer, halves away from zero.
///
/// Adding one half itself would round 0.49999997 up; the float just below one half is right everywhere.
#[inline(always)]
pub(crate) fn half_away(x: f32x8) -> f32x8 {
    const ALMOST_HALF: f32 = 0.5 - f32::EPSILON / 4.0;
    x + ((x & f32x8::splat(-0.0)) | f32x8::splat(ALMOST_HALF))
}

/// The smallest and the largest value. The sign of a zero result is arbitrary.
#[inline(always)]
fn extremes(values: &[f32; 32]) -> (f32, f32) {
    let lanes = values.as_chunks::<8>().0;
    let (a, b, c, d) = (
        f32x8::from(lanes[0]),
        f32x8::from(lanes[1]),
        f32x8::from(lanes[2]),
        f32x8::from(lanes[3]),
    );
    let min = a.fast_min(b).fast_min(c.fast_min(d)).to_array();
    let max = a.fast_max(b).fast_max(c.fast_max(d)).to_array();
    let smaller = |a: f32, b: f32| if b < a { b } else { a };
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    (halve(min, smaller), halve(max, larger))
}

/// Joins eight lanes in three steps.
#[inline(always)]
fn halve(x: [f32; 8], join: impl Fn(f32, f32) -> f32) -> f32 {
    let x = [join(x[0], x[4]), join(x[1], x[5]), join(x[2], x[6]), join(x[3], x[7])];
    join(join(x[0], x[2]), join(x[1], x[3]))
}

/// The first value with a property that one of them has (0 if they are all NaN).
#[cold]
fn first(values: &[f32; 32], is_it: impl Fn(f32) -> bool) -> f32 {
    values.iter().copied().find(|&x| is_it(x)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(edit: &[(usize, f32)]) -> [f32; 32] {
        let mut values = [0.0; 32];
        for &(index, value) in edit {
            values[index] = value;
        }
        values
    }

    #[test]
    fn the_first_of_equal_magnitudes_decides_the_sign() {
        assert_eq!(signed_scale(&block(&[(3, 4.0), (20, -4.0)]), -8.0), (-0.5, -2.0));
        assert_eq!(signed_scale(&block(&[(3, -4.0), (20, 4.0)]), -8.0), (0.5, 2.0));
        assert_eq!(signed_scale(&block(&[(3, 4.0), (20, -4.5)]), -9.0), (0.5, 2.0));
        assert_eq!(signed_scale(&[4.0; 32], -8.0), (-0.5, -2.0));
    }

    #[test]
    fn a_zero_block_has_a_negative_zero_scale() {
        for zero in [0.0, -0.0] {
            let (d, id) = signed_scale(&[zero; 32], -8.0);
            assert_eq!((d.to_bits(), id), ((-0.0f32).to_bits(), 0.0));
        }
    }

    #[test]
    fn an_affine_minimum_keeps_the_sign_of_the_first_zero() {
        for (values, expected) in [
            (block(&[(5, -0.0)]), 0.0f32),
            (block(&[(0, -0.0), (7, 1.0)]), -0.0),
            ([-0.0; 32], -0.0),
        ] {
            let (d, min, _) = affine_scale(&values, 15.0);
            assert_eq!(min.to_bits(), expected.to_bits());
            assert!(d.is_sign_positive());
        }
    }

    #[test]
    fn rounds_halves_away_from_zero() {
        let below_half = 0.5 - f32::EPSILON / 4.0;
        for (x, expected) in [
            (0.5, 1i8),
            (1.5, 2),
            (2.5, 3),
            (126.5, 127),
            (127.0, 127),
            (below_half, 0),
            (0.0, 0),
            (f32::NAN, 0),
        ] {
            assert_eq!(truncate(&[x; 32], half_away), [expected as u8; 32], "{x}");
            assert_eq!(truncate(&[-x; 32], half_away), [-expected as u8; 32], "-{x}");
        }
    }

    #[test]
    fn a_scale_too_small_to_invert_gives_no_infinity() {
        let (_, id) = symmetric_scale(&[1e-40; 32], 127.0);
        assert!(id.is_nan());
    }
}
