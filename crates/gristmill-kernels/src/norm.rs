//! Normalization of rows: layer norm (Ba et al., 2016) and RMS norm (Zhang & Sennrich, 2019).
//!
//! Sums run in 64 lanes and are joined in double precision, so their error does not grow with the width.

use crate::Team;
use crate::elementwise::{for_rows, padded};
use crate::level::vector::{Kernel, LANES, Vector, dispatch};

/// A normalization of rows that have as many elements as its weight.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    eps: f32,
    /// Whether the mean is subtracted first, which is the difference between the two norms.
    centered: bool,
}

impl<'a> Norm<'a> {
    /// RMS norm: `x / sqrt(mean(x²) + eps) * weight`.
    ///
    /// # Panics
    /// When `weight` is empty.
    pub fn rms(weight: &'a [f32], eps: f32) -> Norm<'a> {
        assert!(!weight.is_empty(), "rows have elements");
        Norm { weight, bias: None, eps, centered: false }
    }

    /// Layer norm: `x' / sqrt(mean(x'²) + eps) * weight (+ bias)` where `x' = x - mean(x)`.
    ///
    /// # Panics
    /// When `weight` is empty, or `bias` is not as long.
    pub fn layer(weight: &'a [f32], bias: Option<&'a [f32]>, eps: f32) -> Norm<'a> {
        assert!(
            bias.is_none_or(|bias| bias.len() == weight.len()),
            "weight and bias of one length"
        );
        Norm { bias, centered: true, ..Norm::rms(weight, eps) }
    }

    /// `out` = the rows of `x`, each normalized.
    ///
    /// # Panics
    /// When `x` and `out` differ in length or are not whole rows.
    pub fn rows(self, team: &Team, x: &[f32], out: &mut [f32]) {
        let width = self.width();
        assert!(x.len() == out.len() && x.len().is_multiple_of(width), "whole rows");
        for_rows(team, out, width, &|first, out| self.apply(&x[first * width..][..out.len()], out));
    }

    /// Elements per row.
    pub(crate) fn width(&self) -> usize {
        self.weight.len()
    }

    /// [`rows`](Self::rows) on this thread alone.
    pub(crate) fn apply(self, x: &[f32], out: &mut [f32]) {
        dispatch(Rows { x, out, norm: self });
    }
}

struct Rows<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
    norm: Norm<'a>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let width = self.norm.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            row::<V>(x, out, self.norm);
        }
    }
}

#[inline(always)]
fn row<V: Vector>(x: &[f32], out: &mut [f32], norm: Norm<'_>) {
    let n = x.len() as f64;
    let mean = if norm.centered { (sum::<V, false>(x, 0.0) / n) as f32 } else { 0.0 };
    let variance = sum::<V, true>(x, mean) / n;
    let factor = (1.0 / (variance + f64::from(norm.eps)).sqrt()) as f32;

    let (mean, factor) = (V::splat(mean), V::splat(factor));
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    let (weight, weight_rest) = norm.weight.as_chunks::<LANES>();
    let tail = normalized(&padded(x_rest), &padded(weight_rest), mean, factor);
    if let Some(bias) = norm.bias {
        let (bias, bias_rest) = bias.as_chunks::<LANES>();
        for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            (normalized(x, weight, mean, factor) + V::load(bias)).store(out);
        }
        let tail = (tail + V::load(&padded(bias_rest))).to_array();
        out_rest.copy_from_slice(&tail[..out_rest.len()]);
    } else {
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            normalized(x, weight, mean, factor).store(out);
        }
        out_rest.copy_from_slice(&tail.to_array()[..out_rest.len()]);
    }
}

#[inline(always)]
fn normalized<V: Vector>(x: &[f32; LANES], weight: &[f32; LANES], mean: V, factor: V) -> V {
    (V::load(x) - mean) * factor * V::load(weight)
}

/// `Σ (x - shift)`, or of its square.
#[inline(always)]
fn sum<V: Vector, const SQUARED: bool>(x: &[f32], shift: f32) -> f64 {
    const UNROLLED: usize = 4;
    let (shift_lanes, mut sums) = (V::splat(shift), [V::splat(0.0); UNROLLED]);
    let (whole, rest) = x.as_chunks::<LANES>();
    let (groups, singles) = whole.as_chunks::<UNROLLED>();
    for group in groups {
        for i in 0..UNROLLED {
            sums[i] = add::<V, SQUARED>(sums[i], &group[i], shift_lanes);
        }
    }
    for single in singles {
        sums[0] = add::<V, SQUARED>(sums[0], single, shift_lanes);
    }
    let mut total = 0.0;
    for i in 0..LANES {
        for sum in sums {
            total += f64::from(sum.to_array()[i]);
        }
    }
    for &x in rest {
        let x = f64::from(x - shift);
        total += if SQUARED { x * x } else { x };
    }
    total
}

#[inline(always)]
fn add<V: Vector, const SQUARED: bool>(sum: V, x: &[f32; LANES], shift: V) -> V {
    let x = V::load(x) - shift;
    if SQUARED { x.mul_add(x, sum) } else { sum + x }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, offset: f32) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0 + offset).collect()
    }

    /// The two norms by their formulas in double precision.
    fn reference(
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        eps: f32,
        centered: bool,
    ) -> Vec<f64> {
        let mut out = Vec::new();
        for x in x.chunks(weight.len()) {
            let n = x.len() as f64;
            let mean =
                if centered { x.iter().map(|&x| f64::from(x)).sum::<f64>() / n } else { 0.0 };
            let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
            for (i, &x) in x.iter().enumerate() {
                let y = (f64::from(x) - mean) / (variance + f64::from(eps)).sqrt()
                    * f64::from(weight[i]);
                out.push(y + bias.map_or(0.0, |bias| f64::from(bias[i])));
            }
        }
        out
    }

    #[test]
    fn both_norms_agree_with_double_precision() {
        let team = Team::new(2);
        for (n_rows, width) in [(1, 1), (1, 7), (3, 16), (2, 100), (5, 576), (40, 1024)] {
            for offset in [0.0, 5.0] {
                let x = values(n_rows * width, offset);
                let (weight, bias) = (values(width, 1.5), values(width, 0.0));
                let mut out = vec![0.0; x.len()];
                let check = |out: &[f32], expected: Vec<f64>| {
                    for (y, expected) in out.iter().zip(expected) {
                        let error = (f64::from(*y) - expected).abs();
                        assert!(error < 4e-6 * expected.abs().max(1.0), "{y} is not {expected}");
                    }
                };
                Norm::rms(&weight, 1e-5).rows(&team, &x, &mut out);
                check(&out, reference(&x, &weight, None, 1e-5, false));
                for bias in [None, Some(&bias[..])] {
                    Norm::layer(&weight, bias, 1e-5).rows(&team, &x, &mut out);
                    check(&out, reference(&x, &weight, bias, 1e-5, true));
                }
            }
        }
    }
}
