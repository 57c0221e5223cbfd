//! Where things stand inside the blocks of 32 weights that have no super-blocks.
//!
//! A weight is `d * (code - zero)`, or `d * code + m` for the types that store a minimum. Codes are unsigned: 4 bits
//! (the first sixteen in the low nibbles, the last sixteen in the high ones), 4 bits and a fifth elsewhere, or 8 bits.
//! Q8_0 stores signed bytes; with the top bit flipped they are unsigned codes around 128. So are the values of the
//! types whose nibbles stand for the entries of a table.
//!
//! Unpackers read this table, so a format of this kind is one line.

/// The layout of one block type.
pub(crate) trait Layout: 'static {
    /// Bytes per block.
    const BYTES: usize;
    /// What the scale is, with which all layouts start.
    const SCALE: Scale;
    /// Where the f16 minimum stands, if there is one.
    const MIN: Option<usize>;
    /// Where the 32 fifth bits stand, if there are any: bit `i` belongs to element `i`.
    const HIGH: Option<usize>;
    /// Where the codes stand.
    const CODES: usize;
    /// Bits per stored code without the fifth: 4 or 8.
    const BITS: u32;
    /// The logarithm of `zero`; no meaning where there is a minimum.
    const ZERO_LOG2: u32;
    /// What the codes stand for, if they are not the numbers themselves.
    const TABLE: Option<&'static [i8; 16]>;
}

/// How a scale is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// Two bytes.
    F16,
    /// One byte `e` that means `2^(e - 128)`: half the power it stands for, since the table has twice the values.
    Power,
}

/// The values of the IQ4 types.
pub(crate) const IQ4: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of a 4-bit float with two bits of exponent and one of mantissa.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

macro_rules! layouts {
    ($($name:ident: $bytes:literal bytes, scale $scale:ident, min $min:expr, fifth $high:expr,
       codes $codes:literal x $bits:literal, zero $zero:literal, table $table:expr;)*) => { $(
        #[allow(non_camel_case_types)] // the field's spelling
        pub(crate) struct $name;

        impl Layout for $name {
            const BYTES: usize = $bytes;
            const SCALE: Scale = Scale::$scale;
            const MIN: Option<usize> = $min;
            const HIGH: Option<usize> = $high;
            const CODES: usize = $codes;
            const BITS: u32 = $bits;
            const ZERO_LOG2: u32 = $zero;
            const TABLE: Option<&'static [i8; 16]> = $table;
        }
    )* };
}

layouts! {
    Q4_0:   18 bytes, scale F16,   min None,    fifth None,    codes 2 x 4, zero 3, table None;
    Q4_1:   20 bytes, scale F16,   min Some(2), fifth None,    codes 4 x 4, zero 0, table None;
    Q5_0:   22 bytes, scale F16,   min None,    fifth Some(2), codes 6 x 4, zero 4, table None;
    Q5_1:   24 bytes, scale F16,   min Some(2), fifth Some(4), codes 8 x 4, zero 0, table None;
    Q8_0:   34 bytes, scale F16,   min None,    fifth None,    codes 2 x 8, zero 7, table None;
    IQ4_NL: 18 bytes, scale F16,   min None,    fifth None,    codes 2 x 4, zero 7, table Some(&IQ4);
    MXFP4:  17 bytes, scale Power, min None,    fifth None,    codes 1 x 4, zero 7, table Some(&E2M1);
}
