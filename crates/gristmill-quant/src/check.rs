//! Checks of values before they are narrowed.
//!
//! A checkpoint with a NaN or an infinity in it is broken, and no block format can hold one: the converter looks
//! first and says which element it is.

/// Values looked at together; a group without a finding costs one pass of branch-free compares.
const GROUP: usize = 64;

/// The largest finite `f16`.
const F16_MAX: f32 = 65504.0;

/// The index of the first value that no block can hold, since its scale is an `f16`: a NaN, an infinity, or a magnitude
/// beyond 65504.
pub fn unfit_for_blocks(values: &[f32]) -> Option<usize> {
    // The bits of magnitudes sort like the numbers, with NaNs above them.
    position(values, |x| x.abs().to_bits() > F16_MAX.to_bits())
}

/// The index of the first value whose magnitude is beyond the largest finite `f16`, 65504; infinities are, NaNs are
/// not.
pub fn overflows_f16(values: &[f32]) -> Option<usize> {
    position(values, |x| x.abs() > F16_MAX)
}

fn position(values: &[f32], is_bad: impl Fn(f32) -> bool) -> Option<usize> {
    for (group, values) in values.chunks(GROUP).enumerate() {
        // No early exit inside the group, so that the compiler can compare several values at once.
        if values.iter().fold(false, |found, &x| found | is_bad(x)) {
            return values.iter().position(|&x| is_bad(x)).map(|index| group * GROUP + index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_value_is_found_at_every_place() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65504.004] {
            for index in [0, 1, 63, 64, 65, 199] {
                let mut values = vec![65504.0; 200];
                values[index] = bad;
                values[199] = bad;
                assert_eq!(unfit_for_blocks(&values), Some(index));
            }
        }
        assert_eq!(unfit_for_blocks(&[65504.0, -65504.0, 0.0, -0.0, 1e-45]), None);
        assert_eq!(unfit_for_blocks(&[]), None);
    }

    #[test]
    fn f16_overflow_begins_beyond_65504() {
        assert_eq!(overflows_f16(&[65504.0, -65504.0, f32::NAN, 0.0]), None);
        assert_eq!(overflows_f16(&[0.0, -65504.004]), Some(1));
        assert_eq!(overflows_f16(&[f32::INFINITY]), Some(0));
    }
}
