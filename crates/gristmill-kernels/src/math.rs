//! The functions that activations and softmax need, sixteen at a time.
//!
//! Coefficients are of polynomials through the Chebyshev nodes of the intervals named here, computed with sixty
//! digits. The tests at the end state the accuracy.

use crate::level::vector::Vector;

/// A polynomial, coefficients from the constant upwards, by Horner's rule.
#[inline(always)]
fn polynomial<V: Vector, const N: usize>(coefficients: [f32; N], x: V) -> V {
    let mut sum = V::splat(coefficients[N - 1]);
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, V::splat(coefficients[i]));
    }
    sum
}

/// `e^x` within two units in the last place for `x` from -87.3 to 88.3; 0 below, the value at the end above.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, and `e^r = 1 + r + r² P(r)`.
#[inline(always)]
pub(crate) fn exp<V: Vector>(x: V) -> V {
    const SMALLEST: f32 = -87.33;
    const LARGEST: f32 = 88.37;
    // Ln 2 in two parts, the first with few enough bits that its product with `n` is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const P: [f32; 5] = [0.5, 0.166_665_76, 0.041_666_556, 0.008_363_203, 0.001_392_621_3];

    // The order of the operands lets NaN through.
    let clamped = V::splat(SMALLEST).max(V::splat(LARGEST).min(x));
    let n = (clamped * V::splat(std::f32::consts::LOG2_E)).round();
    let r = n.mul_add(V::splat(-LN_2[0]), clamped);
    let r = n.mul_add(V::splat(-LN_2[1]), r);
    let power = (r * r).mul_add(polynomial(P, r), r) + V::splat(1.0);
    x.select_less(V::splat(SMALLEST), V::splat(0.0), power.scale_by_power(n))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<V: Vector>(x: V) -> V {
    let one = V::splat(1.0);
    one / (one + exp(V::splat(0.0) - x))
}

/// `Φ(x)`, the share of a normal distribution below `x`, within 1e-7; it is `(1 + erf(x / √2)) / 2`.
///
/// For `|x| < 1` an odd polynomial around `Φ(0) = 1/2`; outside `Φ(-|x|) = e^(-x²/2) t P(t)` with
/// `t = 1 / (1 + |x| / 4)`, which keeps the left tail's relative accuracy.
#[inline(always)]
pub(crate) fn normal_cdf<V: Vector>(x: V) -> V {
    const CENTER: [f32; 7] = [
        0.398_942_3,
        -0.066_490_38,
        0.009_973_55,
        -0.001_187_288_8,
        1.153_207_5e-4,
        -9.274_401e-6,
        5.372_643e-7,
    ];
    const TAIL: [f32; 8] = [
        0.099_738_34,
        0.099_641_02,
        0.094_692_27,
        0.073_300_05,
        0.092_671_99,
        -0.022_647_677,
        0.109_280_4,
        -0.046_708_237,
    ];
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let square = x * x;
    let center = x.mul_add(polynomial(CENTER, square), V::splat(0.5));
    let magnitude = x.select_less(zero, zero - x, x);
    let t = one / magnitude.mul_add(V::splat(0.25), one);
    let tail = exp(square * V::splat(-0.5)) * t * polynomial(TAIL, t);
    let outside = x.select_less(zero, tail, one - tail);
    square.select_less(one, center, outside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::level::vector::{Kernel, LANES, dispatch_at};

    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        Sigmoid,
        NormalCdf,
    }

    impl Kernel for (Function, [f32; LANES]) {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<V: Vector>(self) -> [f32; LANES] {
            let x = V::load(&self.1);
            match self.0 {
                Function::Exp => exp(x),
                Function::Sigmoid => sigmoid(x),
                Function::NormalCdf => normal_cdf(x),
            }
            .to_array()
        }
    }

    /// Compares at every level on a fine grid; gives the largest absolute and relative errors.
    fn errors(f: Function, range: [f64; 2], truth: impl Fn(f64) -> f64) -> [f64; 2] {
        let mut worst = [0.0f64; 2];
        for &level in Level::available() {
            for i in 0..20_000 {
                let x: [f32; LANES] = std::array::from_fn(|lane| {
                    (range[0] + (range[1] - range[0]) * (i * LANES + lane) as f64 / 320_000.0)
                        as f32
                });
                for (x, y) in x.into_iter().zip(dispatch_at(level, (f, x))) {
                    let truth = truth(f64::from(x));
                    let error = (f64::from(y) - truth).abs();
                    worst = [worst[0].max(error), worst[1].max(error / truth)];
                }
            }
        }
        worst
    }

    /// Φ by the Taylor series around zero (small x) or the continued fraction of Laplace (large).
    fn normal_cdf_f64(x: f64) -> f64 {
        if x > 2.0 {
            return 1.0 - normal_cdf_f64(-x);
        }
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x < -2.0 {
            let fraction = (1..200).rev().fold(-x, |below, k| -x + f64::from(k) / below);
            return density / fraction;
        }
        let mut term = x;
        let mut sum = x;
        for k in 1..100 {
            term *= x * x / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 + density * sum
    }

    #[test]
    fn exp_is_right_to_two_units_in_the_last_place() {
        let [_, relative] = errors(Function::Exp, [-87.3, 88.3], f64::exp);
        assert!(relative < 2.4e-7, "{relative:e}");
    }

    #[test]
    fn sigmoid_is_right_to_a_few_units_in_the_last_place() {
        let [absolute, relative] =
            errors(Function::Sigmoid, [-80.0, 80.0], |x| 1.0 / (1.0 + (-x).exp()));
        assert!(absolute < 1.2e-7 && relative < 4e-7, "{absolute:e} {relative:e}");
    }

    #[test]
    fn the_normal_distribution_is_right_to_1e_7_and_its_tail_keeps_its_digits() {
        let [absolute, _] = errors(Function::NormalCdf, [-10.0, 10.0], normal_cdf_f64);
        assert!(absolute < 1e-7, "{absolute:e}");
        let [_, relative] = errors(Function::NormalCdf, [-5.0, 5.0], normal_cdf_f64);
        assert!(relative < 1e-6, "{relative:e}");
    }

    #[test]
    fn the_edges_are_sane_at_every_level() {
        for &level in Level::available() {
            let mut x = [0.0; LANES];
            x[..5].copy_from_slice(&[f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -1000.0, 0.0]);
            let y = dispatch_at(level, (Function::Exp, x));
            assert_eq!((y[0], y[3], y[4]), (0.0, 0.0, 1.0));
            assert!(y[1] > 1e38 && y[2].is_nan());
            let y = dispatch_at(level, (Function::NormalCdf, x));
            assert_eq!((y[0], y[1], y[3], y[4]), (0.0, 1.0, 0.0, 0.5));
            assert!(y[2].is_nan());
        }
    }
}
