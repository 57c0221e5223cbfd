//! The families of formats whose layouts differ but whose codes mean the same.

use crate::scale::{affine_scale, half_away, signed_scale, symmetric_scale, truncate};

/// A block taken apart: what every layout of a family stores, each in its way.
pub(crate) struct Parts {
    /// The scale.
    pub(crate) d: f32,
    /// The minimum, for families that have one.
    pub(crate) m: f32,
    /// One code per element.
    pub(crate) codes: [u8; 32],
}

/// What the codes of a family mean and how they are chosen.
pub(crate) trait Family: 'static {
    /// Bits of a code: 4, 5 or 8.
    const BITS: u32;
    /// Whether a block stores its minimum besides its scale.
    const MINIMUM: bool;
    /// The element that a code stands for.
    fn value(code: u8, d: f32, m: f32) -> f32;
    /// Scale and codes of a block; the scale is not rounded yet.
    fn encode(values: &[f32; 32]) -> Parts;
    /// The same by the rule of version 0, which rounded codes where later ones add one half and truncate. The two
    /// differ on ties and next to them.
    fn encode_v0(values: &[f32; 32]) -> Parts {
        Self::encode(values)
    }
}

/// `(code - 8) · d`.
pub(crate) struct Q4_0;
/// `code · d + m`.
pub(crate) struct Q4_1;
/// `(code - 16) · d`.
pub(crate) struct Q5_0;
/// `code · d + m`.
pub(crate) struct Q5_1;
/// `code · d`, codes with a sign.
pub(crate) struct Q8_0;

impl Family for Q4_0 {
    const BITS: u32 = 4;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn value(code: u8, d: f32, _: f32) -> f32 {
        (f32::from(code) - 8.0) * d
    }

    fn encode(values: &[f32; 32]) -> Parts {
        let (d, id) = signed_scale(values, -8.0);
        let codes = truncate(values, |x| x * id + 8.5).map(|code| code.min(15));
        Parts { d, m: 0.0, codes }
    }

    fn encode_v0(values: &[f32; 32]) -> Parts {
        let (d, id) = signed_scale(values, -8.0);
        let rounded = truncate(values, |x| half_away(x * id));
        let codes = rounded.map(|code| code.wrapping_add(8).min(15));
        Parts { d, m: 0.0, codes }
    }
}

impl Family for Q4_1 {
    const BITS: u32 = 4;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn value(code: u8, d: f32, m: f32) -> f32 {
        f32::from(code) * d + m
    }

    fn encode(values: &[f32; 32]) -> Parts {
        let (d, m, id) = affine_scale(values, 15.0);
        let codes = truncate(values, |x| (x - m) * id + 0.5).map(|code| code.min(15));
        Parts { d, m, codes }
    }

    fn encode_v0(values: &[f32; 32]) -> Parts {
        let (d, m, id) = affine_scale(values, 15.0);
        let codes = truncate(values, |x| half_away((x - m) * id)).map(|code| code.min(15));
        Parts { d, m, codes }
    }
}

impl Family for Q5_0 {
    const BITS: u32 = 5;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn value(code: u8, d: f32, _: f32) -> f32 {
        (f32::from(code) - 16.0) * d
    }

    fn encode(values: &[f32; 32]) -> Parts {
        let (d, id) = signed_scale(values, -16.0);
        let codes = truncate(values, |x| x * id + 16.5).map(|code| code.min(31));
        Parts { d, m: 0.0, codes }
    }
}

impl Family for Q5_1 {
    const BITS: u32 = 5;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn value(code: u8, d: f32, m: f32) -> f32 {
        f32::from(code) * d + m
    }

    fn encode(values: &[f32; 32]) -> Parts {
        let (d, m, id) = affine_scale(values, 31.0);
        Parts { d, m, codes: truncate(values, |x| (x - m) * id + 0.5) }
    }
}

impl Family for Q8_0 {
    const BITS: u32 = 8;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn value(code: u8, d: f32, _: f32) -> f32 {
        f32::from(code as i8) * d
    }

    fn encode(values: &[f32; 32]) -> Parts {
        let (d, id) = symmetric_scale(values, 127.0);
        Parts { d, m: 0.0, codes: truncate(values, |x| half_away(x * id)) }
    }
}
