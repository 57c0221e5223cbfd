//! Sixteen registers of sixteen dwords, rows and columns exchanged.

use std::arch::x86_64::*;

/// Dword `j` of register `i` goes to dword `i` of register `j`, in 64 shuffles.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    // Inside each 128-bit lane first: afterwards register `4 k + j`, lane `l` holds column `4 l + j` of rows 4k..4k+4.
    let mut quads = rows;
    for k in (0..16).step_by(4) {
        let low01 = _mm512_unpacklo_epi32(rows[k], rows[k + 1]);
        let high01 = _mm512_unpackhi_epi32(rows[k], rows[k + 1]);
        let low23 = _mm512_unpacklo_epi32(rows[k + 2], rows[k + 3]);
        let high23 = _mm512_unpackhi_epi32(rows[k + 2], rows[k + 3]);
        quads[k] = _mm512_unpacklo_epi64(low01, low23);
        quads[k + 1] = _mm512_unpackhi_epi64(low01, low23);
        quads[k + 2] = _mm512_unpacklo_epi64(high01, high23);
        quads[k + 3] = _mm512_unpackhi_epi64(high01, high23);
    }
    let mut columns = rows;
    for j in 0..4 {
        let even = [
            _mm512_shuffle_i32x4::<0x88>(quads[j], quads[4 + j]),
            _mm512_shuffle_i32x4::<0x88>(quads[8 + j], quads[12 + j]),
        ];
        let odd = [
            _mm512_shuffle_i32x4::<0xdd>(quads[j], quads[4 + j]),
            _mm512_shuffle_i32x4::<0xdd>(quads[8 + j], quads[12 + j]),
        ];
        columns[j] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        columns[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        columns[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        columns[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    columns
}
