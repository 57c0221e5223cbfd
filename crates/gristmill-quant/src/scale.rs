//! Scales of the 32-element formats, and the rounding of codes.
//!
//! Codes are found by multiplying with `1/d`, where `d` is the scale *before* it is rounded to `f16`. That is how
//! ggml does it, so it is part of the format: dividing, or using the stored scale, gives other bytes.
//!
//! The scans for extremes run in eight independent lanes, which the compiler keeps in vector registers.

/// The reciprocal used for codes: 0 for the scale of a zero block.
///
/// Below about 3e-39 the reciprocal overflows. ggml then casts infinities, which on x86-64 gives code 0 for every
/// element; a NaN here has the same effect everywhere, because casts from NaN give 0 in Rust.
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
    let largest = match max.abs() - min.abs() {
        _ if max == min && max == 0.0 => 0.0,
        difference if difference > 0.0 => max,
        difference if difference < 0.0 => min,
        _ => first(values, |x| x.abs() == max.abs()),
    };
    let d = largest / lowest;
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

/// Rounds to the nearest integer, halves away from zero, saturating.
///
/// Adding the float just below one half before truncation rounds correctly everywhere; adding one half itself would
/// round 0.49999997 up.
#[inline(always)]
pub(crate) fn round_half_away(x: f32) -> i8 {
    const ALMOST_HALF: f32 = 0.5 - f32::EPSILON / 4.0;
    (x + ALMOST_HALF.copysign(x)) as i8
}

const LANES: usize = 8;

/// The smallest and the largest value. The sign of a zero result is arbitrary.
#[inline(always)]
fn extremes(values: &[f32; 32]) -> (f32, f32) {
    let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for values in values.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            min[lane] = if values[lane] < min[lane] { values[lane] } else { min[lane] };
            max[lane] = if values[lane] > max[lane] { values[lane] } else { max[lane] };
        }
    }
    let smaller = |a: f32, b: f32| if b < a { b } else { a };
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    (min.into_iter().fold(f32::INFINITY, smaller), max.into_iter().fold(f32::NEG_INFINITY, larger))
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
        for (x, expected) in
            [(0.5, 1), (-0.5, -1), (1.5, 2), (2.5, 3), (-2.5, -3), (126.5, 127), (below_half, 0), (-below_half, 0), (127.0, 127), (f32::NAN, 0)]
        {
            assert_eq!(round_half_away(x), expected, "{x}");
        }
    }

    #[test]
    fn a_scale_too_small_to_invert_gives_no_infinity() {
        let (_, id) = symmetric_scale(&[1e-40; 32], 127.0);
        assert!(id.is_nan());
    }
}
