//! The activation functions of feed-forward layers, in place.
//!
//! GELU is Hendrycks & Gimpel's (2016). Its tanh form is written with the logistic function:
//! `(1 + tanh(u)) / 2 = sigmoid(2u)`.

use crate::Team;
use crate::elementwise::{Function, Function2, map, map2};
use crate::level::vector::Vector;
use crate::math::{normal_cdf, sigmoid};

#[derive(Clone, Copy)]
struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn call<V: Vector>(self, x: V) -> V {
        x * sigmoid(x)
    }
}

/// `x * sigmoid(x)`.
pub fn silu(team: &Team, x: &mut [f32]) {
    map(team, x, Silu);
}

#[derive(Clone, Copy)]
struct SwiGlu;

impl Function2 for SwiGlu {
    #[inline(always)]
    fn call<V: Vector>(self, gate: V, up: V) -> V {
        gate * sigmoid(gate) * up
    }
}

/// `gate = silu(gate) * up`: LLaMA's pair of operations in one pass.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul(team: &Team, gate: &mut [f32], up: &[f32]) {
    map2(team, gate, up, SwiGlu);
}

#[derive(Clone, Copy)]
struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn call<V: Vector>(self, x: V) -> V {
        x * normal_cdf(x)
    }
}

/// `x Φ(x)`: GELU with the error function.
pub fn gelu(team: &Team, x: &mut [f32]) {
    map(team, x, Gelu);
}

#[derive(Clone, Copy)]
struct GeluTanh;

impl Function for GeluTanh {
    #[inline(always)]
    fn call<V: Vector>(self, x: V) -> V {
        // 2 sqrt(2/π), since the sigmoid is taken of twice the argument of tanh.
        const FACTOR: f32 = 1.595_769;
        let u = (x * x).mul_add(V::splat(0.044715), V::splat(1.0)) * x;
        x * sigmoid(u * V::splat(FACTOR))
    }
}

/// `x/2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`: GELU's approximation with tanh.
pub fn gelu_tanh(team: &Team, x: &mut [f32]) {
    map(team, x, GeluTanh);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest difference to `truth` on a grid from -12 to 12.
    fn error(f: impl Fn(&Team, &mut [f32]), truth: impl Fn(f64) -> f64) -> f64 {
        let x: Vec<f32> = (0..24_001).map(|i| (i as f32 - 12_000.0) / 1000.0).collect();
        let mut y = x.clone();
        f(&Team::new(2), &mut y);
        let errors = x.iter().zip(&y).map(|(&x, &y)| {
            let truth = truth(f64::from(x));
            (f64::from(y) - truth).abs() / truth.abs().max(1.0)
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn silu_agrees_with_its_formula() {
        assert!(error(silu, |x| x / (1.0 + (-x).exp())) < 2e-7);
    }

    #[test]
    fn gelu_tanh_agrees_with_its_formula() {
        let truth = |x: f64| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + u.tanh())
        };
        assert!(error(gelu_tanh, truth) < 3e-7);
    }

    #[test]
    fn gelu_agrees_with_values_of_the_error_function() {
        // x, x Φ(x), computed with forty digits.
        let cases = [
            (-3.0f32, -0.004_049_694),
            (-1.0, -0.158_655_25),
            (-0.5, -0.154_268_77),
            (0.0, 0.0),
            (0.7, 0.530_625_37),
            (2.0, 1.954_499_7),
            (11.0, 11.0),
        ];
        for (x, expected) in cases {
            let mut y = [x];
            gelu(&Team::new(1), &mut y);
            assert!((y[0] - expected).abs() < 2e-7 * x.abs().max(1.0), "gelu({x}) = {}", y[0]);
        }
    }

    #[test]
    fn the_joined_gate_is_the_two_operations() {
        let team = Team::new(1);
        let (mut gate, up) = ([-2.0, 0.5, 3.0], [1.5, -1.0, 2.0]);
        let mut expected = gate;
        silu(&team, &mut expected);
        silu_mul(&team, &mut gate, &up);
        for i in 0..3 {
            assert_eq!(gate[i], expected[i] * up[i]);
        }
    }
}
