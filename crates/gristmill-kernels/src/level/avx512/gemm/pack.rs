//! 32 rows of weights, unpacked side by side: sixteen at a time, of which a line of bytes each is transposed before it is
//! taken apart, so that what many codes share a byte with is moved once.

use std::arch::x86_64::*;

use super::Block;
use crate::level::avx512::transpose::transpose;
use crate::level::avx512::unpack::Stored;
use crate::level::prefetch::prefetch;
use crate::matmul::activations::{Arrangement, GROUP};
use crate::matmul::kernels::Rows;
use crate::matmul::order::Order;
use crate::matmul::padding::Padding;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn pack<S: Stored<H>, const H: usize>(
    rows: &Rows<'_>,
    order: Order,
    panel: &mut [Block<H>],
) {
    let (last, group_bytes) = (rows.n_rows() - 1, 4 * S::QUAD_BYTES);
    let mut padding = [const { Padding::new() }; 16];
    for half in 0..2 {
        for start in (0..order.n_steps()).step_by(GROUP) {
            let mut padding = padding.iter_mut();
            let group: [&[u8]; 16] = std::array::from_fn(|i| {
                // Rows that are not there are copies of the last; nobody looks at their sums.
                let rest = &rows.from(last.min(16 * half + i))[start * S::QUAD_BYTES / 4..];
                padding.next().expect("one for each row").whole(rest, group_bytes)
            });
            group.iter().for_each(|bytes| prefetch(bytes, 2 * bytes.len()));
            let n_blocks = GROUP.min(order.n_steps() - start);
            let places = std::array::from_fn(|b| order.place(start + b));
            pack_group::<S, H>(group, half, &mut Places { panel: &mut *panel, places, n_blocks });
        }
    }
}

/// Where the blocks of a group go in a panel.
struct Places<'a, const H: usize> {
    panel: &'a mut [Block<H>],
    places: [usize; GROUP],
    n_blocks: usize,
}

impl<const H: usize> Places<'_, H> {
    /// The place of block `b` of the group, if it is there.
    #[inline(always)]
    fn block(&mut self, b: usize) -> Option<&mut Block<H>> {
        (b < self.n_blocks).then(|| &mut self.panel[self.places[b]])
    }
}

/// What `of` gives for each of sixteen rows, transposed. In a loop it would not be inlined, and pass through memory.
macro_rules! transposed {
    ($rows:expr, $row:ident => $of:expr) => {
        transposed!($rows, $row => $of, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($rows:expr, $row:ident => $of:expr, $($i:literal)*) => {
        transpose([$({
            // Of known length, so that loads need not be checked one by one.
            let $row = &$rows[$i][..4 * S::QUAD_BYTES];
            // SAFETY: the function that this is in has the instructions.
            unsafe { $of }
        }),*])
    };
}

/// Unpacks up to sixteen blocks of sixteen rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack_group<S: Stored<H>, const H: usize>(
    rows: [&[u8]; 16],
    half: usize,
    places: &mut Places<'_, H>,
) {
    let mut high = [[_mm512_setzero_si512(); 16]; 2];
    for line in 0..S::HIGH_LINES {
        high[line] = transposed!(rows, row => S::high_line(row, line));
    }
    for line in 0..S::LINES {
        if S::place(line, 0, 0).0 < places.n_blocks {
            pack_line::<S, H>(rows, line, &high, half, places);
        }
    }
    pack_numbers::<S, H>(rows, half, places);
}

/// Unpacks the codes of a line of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack_line<S: Stored<H>, const H: usize>(
    rows: [&[u8]; 16],
    line: usize,
    high: &[[__m512i; 16]; 2],
    half: usize,
    places: &mut Places<'_, H>,
) {
    let columns = transposed!(rows, row => S::line(row, line));
    let mask = _mm512_set1_epi8(((1u32 << S::LINES) - 1) as i8);
    for part in 0..8 / S::LINES {
        let shift = _mm_cvtsi32_si128((part * S::LINES) as i32);
        for lane in 0..4 {
            let (b, part) = S::place(line, lane, part);
            let Some(block) = places.block(b) else {
                continue;
            };
            for j in 0..4 {
                let bits = _mm512_and_si512(_mm512_srl_epi16(columns[4 * lane + j], shift), mask);
                // SAFETY: this function has the instructions.
                let codes = unsafe { S::codes(bits) };
                let j = 4 * part + j;
                // SAFETY: as above.
                let codes = unsafe { S::with_high(codes, high, b, j) };
                block.codes[j][half] = _mm512_add_epi8(codes, offset::<S, H>());
            }
        }
    }
}

/// Unpacks the scales and minima of up to sixteen blocks of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack_numbers<S: Stored<H>, const H: usize>(
    rows: [&[u8]; 16],
    half: usize,
    places: &mut Places<'_, H>,
) {
    let mut scales = [[_mm512_setzero_si512(); 16]; H];
    let mut minima = [[_mm512_setzero_si512(); 16]; H];
    for i in 0..16 {
        // SAFETY: this function has the instructions.
        let numbers = unsafe { S::numbers(rows[i]) };
        for h in 0..H {
            scales[h][i] = _mm512_castps_si512(numbers.scales[h]);
            minima[h][i] = _mm512_castps_si512(numbers.minima[h]);
        }
    }
    for h in 0..H {
        let (d, m) = (transpose(scales[h]), transpose(minima[h]));
        for b in 0..places.n_blocks {
            let lane = Arrangement::Dwords.lane(b);
            if let Some(block) = places.block(b) {
                block.d[h][half] = _mm512_castsi512_ps(d[lane]);
                if S::HAS_MIN {
                    block.m[h][half] = _mm512_castsi512_ps(m[lane]);
                }
            }
        }
    }
}

/// What is added to codes so that all types are unsigned around 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn offset<S: Stored<H>, const H: usize>() -> __m512i {
    let zero = if S::HAS_MIN { 0 } else { 1 << S::ZERO_LOG2 };
    _mm512_set1_epi8((128 - zero) as u8 as i8)
}
