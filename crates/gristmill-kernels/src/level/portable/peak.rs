//! Loops over one operation, for the roofline.

use std::hint::black_box;

use wide::i16x16;

use crate::roofline::CHAINS;

/// Reads `bytes`, a multiple of 128, and gives something that is zero if they are.
pub(crate) fn read(bytes: &[u8]) -> u64 {
    read_inline(bytes)
}

/// [`read`], to be compiled for another level.
#[inline(always)]
pub(crate) fn read_inline(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for lines in bytes.as_chunks::<128>().0 {
        for (sum, word) in sums.iter_mut().zip(lines.as_chunks::<8>().0) {
            *sum ^= u64::from_ne_bytes(*word);
        }
    }
    sums.into_iter().fold(0, |a, b| a | b)
}

/// `CHAINS` times `repeats` multiplications and additions of sixteen 16-bit numbers.
pub(crate) fn int16(repeats: usize) {
    let [factor, addend] = black_box([i16x16::splat(3), i16x16::splat(1)]);
    let mut sums = [addend; CHAINS];
    for _ in 0..repeats {
        for sum in &mut sums {
            *sum = *sum * factor + addend;
        }
    }
    black_box(sums);
}
