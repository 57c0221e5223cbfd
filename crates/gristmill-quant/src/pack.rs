//! How codes narrower than a byte lie in their bytes.
//!
//! Nibbles are stored in halves: byte `j` holds element `j` in its low four bits and element `j + n/2` in its high
//! ones, so that a vector of bytes splits into two runs of elements with one mask and one shift. Fifth bits are
//! collected in one little-endian number, bit `i` for element `i`.

use wide::i8x16;

/// The low four bits of 32 codes, in 16 bytes.
#[inline(always)]
pub(crate) fn pack_nibbles(codes: &[u8; 32], bytes: &mut [u8]) {
    for j in 0..16 {
        bytes[j] = (codes[j] & 15) | (codes[j + 16] << 4);
    }
}

/// The 32 codes of 16 bytes.
#[inline(always)]
pub(crate) fn unpack_nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    for j in 0..16 {
        codes[j] = bytes[j] & 15;
        codes[j + 16] = bytes[j] >> 4;
    }
    codes
}

/// Bit 4 of 32 codes, as four bytes.
#[inline(always)]
pub(crate) fn pack_fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let mut bits = [0; 4];
    for (bits, codes) in bits.as_chunks_mut().0.iter_mut().zip(codes.as_chunks().0) {
        let codes = i8x16::from(codes.map(u8::cast_signed));
        let twice = codes + codes;
        let four_times = twice + twice;
        // The sign of each byte is now its bit 4.
        *bits = ((four_times + four_times).to_bitmask() as u16).to_le_bytes();
    }
    bits
}

/// The 32 codes of 16 bytes of nibbles and four bytes of fifth bits.
#[inline(always)]
pub(crate) fn unpack_five_bits(fifth_bits: &[u8], nibbles: &[u8]) -> [u8; 32] {
    // Each byte is copied eight times and byte `i` of the copies keeps bit `i`; adding 0x70 and more carries any kept
    // bit into bit 7.
    const COPY: u64 = 0x0101_0101_0101_0101;
    const SELECT: u64 = 0x8040_2010_0804_0201;
    let mut codes = unpack_nibbles(nibbles);
    for (codes, &bits) in codes.as_chunks_mut::<8>().0.iter_mut().zip(fifth_bits) {
        let selected = (u64::from(bits) * COPY) & SELECT;
        let ones = ((selected + 0x7f * COPY) >> 7) & COPY;
        *codes = (u64::from_le_bytes(*codes) | (ones << 4)).to_le_bytes();
    }
    codes
}

/// The 256 codes of 64 bytes of Q2_K or Q3_K: in each half of the block, elements `32k ..` are bits `2k` and `2k + 1`
/// of its 32 bytes.
#[inline(always)]
pub(crate) fn unpack_two_bits(bytes: &[u8]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (codes, bytes) in codes.as_chunks_mut::<128>().0.iter_mut().zip(bytes.as_chunks::<32>().0) {
        for (k, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            *codes = bytes.map(|byte| (byte >> (2 * k)) & 3);
        }
    }
    codes
}

/// The low two bits of 256 codes, in 64 bytes; see [`unpack_two_bits`].
#[inline(always)]
pub(crate) fn pack_two_bits(codes: &[u8; 256], bytes: &mut [u8]) {
    for (codes, bytes) in codes.as_chunks::<128>().0.iter().zip(bytes.as_chunks_mut::<32>().0) {
        *bytes = std::array::from_fn(|i| {
            let code = |k: usize| (codes[32 * k + i] & 3) << (2 * k);
            code(0) | code(1) | code(2) | code(3)
        });
    }
}

/// The bit number `bit` of 256 codes, in 32 bytes: bit `e / 32` of byte `e % 32`.
#[inline(always)]
pub(crate) fn pack_high_bits(codes: &[u8; 256], bit: u32, bytes: &mut [u8]) {
    bytes.fill(0);
    for (group, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
        for i in 0..32 {
            bytes[i] |= ((codes[i] >> bit) & 1) << group;
        }
    }
}

/// The low nibbles of 256 codes, in 128 bytes: each 64 elements have 32 bytes, the first 32 the low nibbles.
#[inline(always)]
pub(crate) fn pack_nibbles_in_pairs(codes: &[u8; 256], bytes: &mut [u8]) {
    for (codes, bytes) in codes.as_chunks::<64>().0.iter().zip(bytes.as_chunks_mut::<32>().0) {
        *bytes = std::array::from_fn(|i| (codes[i] & 15) | (codes[i + 32] << 4));
    }
}

/// The eight 6-bit scales and minimums of Q4_K and Q5_K, from 12 bytes.
///
/// The first four of each are the low six bits of bytes 0–3 and 4–7; the others have their low nibbles in bytes 8–11
/// and their upper two bits in the spare bits of bytes 0–7.
#[inline(always)]
pub(crate) fn unpack_scales_and_mins(bytes: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scales[j] = bytes[j] & 63;
        mins[j] = bytes[j + 4] & 63;
        scales[j + 4] = (bytes[j + 8] & 15) | ((bytes[j] >> 6) << 4);
        mins[j + 4] = (bytes[j + 8] >> 4) | ((bytes[j + 4] >> 6) << 4);
    }
    (scales, mins)
}

/// Eight 6-bit scales and minimums in 12 bytes; see [`unpack_scales_and_mins`].
#[inline(always)]
pub(crate) fn pack_scales_and_mins(scales: &[u8; 8], mins: &[u8; 8], bytes: &mut [u8]) {
    for j in 0..4 {
        bytes[j] = scales[j] | (scales[j + 4] >> 4) << 6;
        bytes[j + 4] = mins[j] | (mins[j + 4] >> 4) << 6;
        bytes[j + 8] = (scales[j + 4] & 15) | (mins[j + 4] << 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_lie_in_halves() {
        let codes = std::array::from_fn(|i| (i % 16) as u8);
        let mut bytes = [0; 16];
        pack_nibbles(&codes, &mut bytes);
        assert_eq!(bytes[..3], [0x00, 0x11, 0x22]);
        assert_eq!(unpack_nibbles(&bytes), codes);
    }

    #[test]
    fn every_fifth_bit_finds_its_place() {
        for i in 0..32 {
            let mut codes = [0x0f; 32];
            codes[i] = 0x1f;
            let bits = pack_fifth_bits(&codes);
            assert_eq!(u32::from_le_bytes(bits), 1 << i);
            assert_eq!(unpack_five_bits(&bits, &[0xff; 16]), codes);
        }
        assert_eq!(pack_fifth_bits(&[0x10; 32]), [0xff; 4]);
        assert_eq!(unpack_five_bits(&[0xff; 4], &[0; 16]), [0x10; 32]);
    }

    #[test]
    fn upper_scales_borrow_spare_bits() {
        let bytes = [0xc1, 2, 3, 4, 0x45, 6, 7, 8, 0xba, 0, 0, 0];
        let (scales, mins) = unpack_scales_and_mins(&bytes);
        assert_eq!((scales[0], scales[4]), (1, 0x3a));
        assert_eq!((mins[0], mins[4]), (5, 0x1b));
    }
}
