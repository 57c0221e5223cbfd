//! What a cache stores for a number: the number itself, half of its bits, or a code that a scale gives its size.

use bytemuck::Pod;
use gristmill_quant::{Q8_0, Quantize};
use half::f16;

use crate::level::vector::{LANES, Vector};

/// Dimensions that are narrowed together, and share a scale if they become codes. A head's last block may be shorter.
pub(crate) const BLOCK: usize = 32;

/// An element of a cache.
pub(crate) trait Element: Pod + Send + Sync {
    /// Whether elements are codes, which mean something only times the scale of their block.
    const SCALED: bool;

    /// Sixteen of them, widened.
    fn load<V: Vector>(x: &[Self; LANES]) -> V;

    /// A block of numbers, narrowed, and its scale (1 for what is no code).
    fn narrow<V: Vector>(x: &[f32; BLOCK]) -> ([Self; BLOCK], f32);
}

impl Element for f32 {
    const SCALED: bool = false;

    #[inline(always)]
    fn load<V: Vector>(x: &[f32; LANES]) -> V {
        V::load(x)
    }

    #[inline(always)]
    fn narrow<V: Vector>(x: &[f32; BLOCK]) -> ([f32; BLOCK], f32) {
        (*x, 1.0)
    }
}

impl Element for f16 {
    const SCALED: bool = false;

    #[inline(always)]
    fn load<V: Vector>(x: &[f16; LANES]) -> V {
        V::load_f16(x)
    }

    #[inline(always)]
    fn narrow<V: Vector>(x: &[f32; BLOCK]) -> ([f16; BLOCK], f32) {
        let mut narrow = [f16::ZERO; BLOCK];
        for (x, out) in x.as_chunks().0.iter().zip(narrow.as_chunks_mut().0) {
            saturate(V::load(x)).store_f16(out);
        }
        (narrow, 1.0)
    }
}

impl Element for i8 {
    const SCALED: bool = true;

    #[inline(always)]
    fn load<V: Vector>(x: &[i8; LANES]) -> V {
        V::load_i8(x)
    }

    #[inline(always)]
    fn narrow<V: Vector>(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
        let mut saturated = [0.0; BLOCK];
        let mut sum = V::splat(0.0);
        for (x, out) in x.as_chunks().0.iter().zip(saturated.as_chunks_mut().0) {
            let x = saturate(V::load(x));
            x.store(out);
            sum = sum + x;
        }
        let mut bytes = [0; 2 + BLOCK];
        Q8_0::quantize(&saturated, &mut bytes);
        let [low, high, codes @ ..] = bytes;
        // No code says NaN, but a scale can, for its whole block. The other sums are finite.
        let is_nan = sum.sum().is_nan();
        let scale = if is_nan { f16::NAN } else { f16::from_le_bytes([low, high]) };
        (codes.map(|code| code as i8), scale.to_f32())
    }
}

/// Magnitudes up to the largest of half precision; NaN stays. An infinity would turn the products with masked (zero)
/// weights into NaN.
#[inline(always)]
fn saturate<V: Vector>(x: V) -> V {
    let largest = f16::MAX.to_f32();
    V::splat(-largest).max(V::splat(largest).min(x))
}

/// [`Element::narrow`] of a block that may be a head's last and shorter, with zeros after it.
#[inline(always)]
pub(super) fn narrow<V: Vector, E: Element>(x: &[f32]) -> ([E; BLOCK], f32) {
    let mut block = [0.0; BLOCK];
    block[..x.len()].copy_from_slice(x);
    E::narrow::<V>(&block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::level::vector::{Kernel, dispatch_at};

    /// [`Element::narrow`] at a level.
    struct Narrow<E>([f32; BLOCK], std::marker::PhantomData<E>);

    impl<E: Element> Kernel for Narrow<E> {
        type Output = ([E; BLOCK], f32);

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            E::narrow::<V>(&self.0)
        }
    }

    /// What a block that begins with `x` becomes at every level: always the same, NaN or not.
    fn narrowed<E: Element + PartialEq + std::fmt::Debug>(x: &[f32]) -> ([E; BLOCK], f32) {
        let mut block = [0.0; BLOCK];
        block[..x.len()].copy_from_slice(x);
        let narrow = |&level| dispatch_at(level, Narrow(block, std::marker::PhantomData));
        let mut all = Level::available().iter().map(narrow);
        let first = all.next().expect("every CPU has a level");
        all.for_each(|other| assert_eq!(format!("{other:?}"), format!("{first:?}")));
        first
    }

    #[test]
    fn narrow_numbers_saturate_and_keep_nan() {
        let x = [1e9, f32::NEG_INFINITY, f32::NAN, 0.1];
        let (halves, _) = narrowed::<f16>(&x);
        assert_eq!((halves[0], halves[1], halves[3]), (f16::MAX, f16::MIN, f16::from_f32(0.1)));
        assert!(halves[2].is_nan());

        let (codes, scale) = narrowed::<i8>(&[1e9, f32::NEG_INFINITY, 33000.0, 0.1]);
        assert_eq!((&codes[..5], scale), (&[127, -127, 64, 0, 0][..], 516.0));
        assert!(narrowed::<i8>(&x).1.is_nan());
        assert_eq!(narrowed::<i8>(&[0.0]), ([0; BLOCK], 0.0));
    }
}
