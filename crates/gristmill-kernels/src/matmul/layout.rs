//! Where things stand inside the blocks of 32 weights, for the types whose products are integer products.
//!
//! A weight is `d * (code - zero)`, or `d * code + m` for the types that store a minimum. Codes are unsigned: 4 bits
//! (the first sixteen in the low nibbles, the last sixteen in the high ones), 4 bits and a fifth elsewhere, or 8 bits.
//! Q8_0 stores signed bytes; with the top bit flipped they are unsigned codes around 128.
//!
//! Unpackers read this table, so a format of this kind is one line.

/// The layout of one block type.
pub(crate) trait Layout: 'static {
    /// Bytes per block.
    const BYTES: usize;
    /// Where the f16 scale stands. All layouts start with it.
    const SCALE: usize = 0;
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
}

macro_rules! layouts {
    ($($name:ident: $bytes:literal bytes, min $min:expr, high $high:expr, codes $codes:literal x $bits:literal,
       zero $zero:literal;)*) => { $(
        #[allow(non_camel_case_types)] // the field's spelling
        pub(crate) struct $name;

        impl Layout for $name {
            const BYTES: usize = $bytes;
            const MIN: Option<usize> = $min;
            const HIGH: Option<usize> = $high;
            const CODES: usize = $codes;
            const BITS: u32 = $bits;
            const ZERO_LOG2: u32 = $zero;
        }
    )* };
}

layouts! {
    Q4_0: 18 bytes, min None,    high None,    codes 2 x 4, zero 3;
    Q4_1: 20 bytes, min Some(2), high None,    codes 4 x 4, zero 0;
    Q5_0: 22 bytes, min None,    high Some(2), codes 6 x 4, zero 4;
    Q5_1: 24 bytes, min Some(2), high Some(4), codes 8 x 4, zero 0;
    Q8_0: 34 bytes, min None,    high None,    codes 2 x 8, zero 7;
}
