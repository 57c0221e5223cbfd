//! Panels of 16-bit floats: rows side by side, two neighbouring weights of a row in each dword.
#![expect(unsafe_code, reason = "vector loads, and a method with target features")]

use std::arch::x86_64::*;

use super::transpose::transpose;
use crate::level::prefetch::prefetch;
use crate::matmul::activations::BLOCK;
use crate::matmul::kernels::Rows;
use crate::matmul::order::Order;

/// Bytes of a stored block of 32.
const BLOCK_BYTES: usize = 2 * BLOCK;

/// Blocks of a row that are read one after the other.
const RUN: usize = 8;

/// Calls the tile kernel for as many tokens as the last argument, the result's tile, has.
macro_rules! for_tokens {
    ($tile:ident($panel:expr, $columns:expr, $order:expr, $next:expr, $y:expr)) => {
        match $y.rows().len() {
            1 => $tile::<1>($panel, $columns, $order, $next, $y),
            2 => $tile::<2>($panel, $columns, $order, $next, $y),
            3 => $tile::<3>($panel, $columns, $order, $next, $y),
            4 => $tile::<4>($panel, $columns, $order, $next, $y),
            5 => $tile::<5>($panel, $columns, $order, $next, $y),
            6 => $tile::<6>($panel, $columns, $order, $next, $y),
            n => unreachable!("{n} tokens are more than a tile has"),
        }
    };
}
pub(super) use for_tokens;

/// What becomes of the pairs of 32 rows.
pub(super) trait Pairs: 'static {
    /// A block of 32 weights of each row.
    type Block;

    /// Puts sixteen rows into their half of a block: register `j` has weights `2 j` and `2 j + 1` of each, one in each
    /// half of a dword.
    ///
    /// # Safety
    /// The CPU has the instructions of this level.
    unsafe fn put(pairs: [__m512i; BLOCK / 2], half: usize, block: &mut Self::Block);
}

/// Takes up to 32 rows apart; weights past the end of a row are zero.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn pack<P: Pairs>(rows: &Rows<'_>, order: Order, panel: &mut [P::Block]) {
    let last = rows.n_rows() - 1;
    for half in 0..2 {
        for start in (0..order.n_steps()).step_by(RUN) {
            let n_blocks = RUN.min(order.n_steps() - start);
            // Longer than what is used, or all rows would meet in the same sets of the cache.
            let mut stored = [[_mm512_setzero_si512(); RUN + 1]; 16];
            for i in 0..16 {
                // Rows that are not there are copies of the last; nobody looks at their sums.
                let bytes = &rows.row(last.min(16 * half + i))[start * BLOCK_BYTES..];
                let bytes = &bytes[..bytes.len().min(RUN * BLOCK_BYTES)];
                prefetch(bytes, bytes.len());
                for (stored, bytes) in stored[i].iter_mut().zip(bytes.chunks(BLOCK_BYTES)) {
                    let mask = u64::MAX >> (BLOCK_BYTES - bytes.len());
                    // SAFETY: the mask lets through only bytes that are there.
                    *stored = unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) };
                }
            }
            for b in 0..n_blocks {
                let mut square = [_mm512_setzero_si512(); 16];
                for i in 0..16 {
                    square[i] = stored[i][b];
                }
                let (pairs, block) = (transpose(square), &mut panel[order.place(start + b)]);
                // SAFETY: this function has the instructions.
                unsafe { P::put(pairs, half, block) };
            }
        }
    }
}
