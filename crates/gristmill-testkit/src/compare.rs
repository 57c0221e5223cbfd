//! Floats held against each other.

/// The largest absolute difference; NaN on either side counts as infinitely far.
///
/// # Panics
/// When the lengths differ.
pub fn max_abs(actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len(), "as many values as expected");
    let distances = actual.iter().zip(expected).map(|(a, e)| (a - e).abs());
    distances.fold(0.0, |most, d| if d.is_nan() { f32::INFINITY } else { most.max(d) })
}

/// Asserts that no value is farther than `tolerance` from the expected one.
///
/// # Panics
/// When one is; the message tells the first such place.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    let most = max_abs(actual, expected);
    let far = |(a, e): (&f32, &f32)| (a - e).abs() > tolerance || (a - e).is_nan();
    if let Some(at) = actual.iter().zip(expected).position(far) {
        panic!(
            "value {at} is {}, expected {} within {tolerance} (largest difference {most})",
            actual[at], expected[at]
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_is_found_and_nan_is_far() {
        assert_eq!(max_abs(&[1.0, 2.0, 3.0], &[1.0, 2.5, 3.25]), 0.5);
        assert_eq!(max_abs(&[f32::NAN, 0.0], &[0.0, 0.0]), f32::INFINITY);
        assert_close(&[1.0], &[1.0625], 0.0625);
    }

    #[test]
    #[should_panic(expected = "value 1 is 3")]
    fn a_far_value_is_told() {
        assert_close(&[1.0, 3.0], &[1.0, 2.0], 0.5);
    }
}
