//! Element-wise work in place, and how it and row-wise work are shared among the threads.
//!
//! A decode step does dozens of these on a few thousand elements, which one thread finishes before another would have
//! begun; only long values (prefill) are cut into parts.

use crate::Team;
use crate::level::vector::{Kernel, LANES, Vector, dispatch};

/// Elements that are worth a task of their own.
const GRAIN: usize = 8192;

/// A function of one element, given sixteen at a time.
pub(crate) trait Function: Copy + Sync {
    /// The function. Implementations are `#[inline(always)]`.
    fn call<V: Vector>(self, x: V) -> V;
}

/// A function of two elements, given sixteen of each at a time.
pub(crate) trait Function2: Copy + Sync {
    /// The function. Implementations are `#[inline(always)]`.
    fn call<V: Vector>(self, x: V, y: V) -> V;
}

/// Calls `f(first row, rows)` for parts of `values` that cover it, in parallel if there is enough to do.
pub fn for_rows(
    team: &Team,
    values: &mut [f32],
    row_len: usize,
    f: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    if values.len() < 2 * GRAIN || team.n_threads() == 1 {
        return f(0, values);
    }
    let rows_per_part = GRAIN.div_ceil(row_len);
    team.for_each_chunk_mut(values, rows_per_part * row_len, &|part, rows| {
        f(part * rows_per_part, rows)
    });
}

/// `x = f(x)` for each element.
pub(crate) fn map<F: Function>(team: &Team, x: &mut [f32], f: F) {
    for_rows(team, x, 1, &|_, x| dispatch(Map { x, f }));
}

/// `x = f(x, y)` for each pair of elements.
pub(crate) fn map2<F: Function2>(team: &Team, x: &mut [f32], y: &[f32], f: F) {
    assert_eq!(x.len(), y.len(), "two values of one size");
    for_rows(team, x, 1, &|first, x| {
        let y = &y[first..first + x.len()];
        dispatch(Map2 { x, y, f });
    });
}

struct Map<'a, F> {
    x: &'a mut [f32],
    f: F,
}

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (whole, rest) = self.x.as_chunks_mut::<LANES>();
        for x in whole {
            self.f.call(V::load(x)).store(x);
        }
        let y = self.f.call(V::load(&padded(rest))).to_array();
        rest.copy_from_slice(&y[..rest.len()]);
    }
}

struct Map2<'a, F> {
    x: &'a mut [f32],
    y: &'a [f32],
    f: F,
}

impl<F: Function2> Kernel for Map2<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (whole, rest) = self.x.as_chunks_mut::<LANES>();
        let (y_whole, y_rest) = self.y.as_chunks::<LANES>();
        for (x, y) in whole.iter_mut().zip(y_whole) {
            self.f.call(V::load(x), V::load(y)).store(x);
        }
        let y = self.f.call(V::load(&padded(rest)), V::load(&padded(y_rest))).to_array();
        rest.copy_from_slice(&y[..rest.len()]);
    }
}

/// Fewer than sixteen elements, filled up with zeros.
#[inline(always)]
pub(crate) fn padded(rest: &[f32]) -> [f32; LANES] {
    let mut x = [0.0; LANES];
    x[..rest.len()].copy_from_slice(rest);
    x
}

#[derive(Clone, Copy)]
struct Sum;

impl Function2 for Sum {
    #[inline(always)]
    fn call<V: Vector>(self, x: V, y: V) -> V {
        x + y
    }
}

/// `x += y`.
///
/// # Panics
/// When the lengths differ.
pub fn add(team: &Team, x: &mut [f32], y: &[f32]) {
    map2(team, x, y, Sum);
}

#[derive(Clone, Copy)]
struct Times;

impl Function2 for Times {
    #[inline(always)]
    fn call<V: Vector>(self, x: V, y: V) -> V {
        x * y
    }
}

/// `x *= y`, element by element.
///
/// # Panics
/// When the lengths differ.
pub fn mul(team: &Team, x: &mut [f32], y: &[f32]) {
    map2(team, x, y, Times);
}

#[derive(Clone, Copy)]
struct Scale(f32);

impl Function for Scale {
    #[inline(always)]
    fn call<V: Vector>(self, x: V) -> V {
        x * V::splat(self.0)
    }
}

/// `x *= factor`.
pub fn scale(team: &Team, x: &mut [f32], factor: f32) {
    map(team, x, Scale(factor));
}

#[derive(Clone, Copy)]
struct Clamp(f32);

impl Function for Clamp {
    #[inline(always)]
    fn call<V: Vector>(self, x: V) -> V {
        // The order of the operands lets NaN through.
        V::splat(-self.0).max(V::splat(self.0).min(x))
    }
}

/// Each element clamped to `-limit ..= limit`.
pub fn clamp(team: &Team, x: &mut [f32], limit: f32) {
    map(team, x, Clamp(limit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_covered_with_any_number_of_threads() {
        for n_threads in [1, 3] {
            let team = Team::new(n_threads);
            for len in [0, 1, 15, 16, 17, 100, 2 * GRAIN + 5] {
                let y: Vec<f32> = (0..len).map(|i| i as f32 / 8.0).collect();
                let mut x = vec![2.0; len];
                add(&team, &mut x, &y);
                mul(&team, &mut x, &y);
                scale(&team, &mut x, 0.5);
                clamp(&team, &mut x, 50.0);
                for (x, y) in x.iter().zip(&y) {
                    assert_eq!(*x, ((2.0 + y) * y * 0.5).min(50.0));
                }
            }
        }
    }

    #[test]
    fn clamping_does_not_hide_a_nan() {
        let mut x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        clamp(&Team::new(1), &mut x, 6.0);
        assert!(x[0].is_nan());
        assert_eq!(x[1..], [6.0, -6.0]);
    }
}
