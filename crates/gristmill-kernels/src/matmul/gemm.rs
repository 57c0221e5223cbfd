//! The loops around a tile kernel: many tokens, weights unpacked once for all of them.
//!
//! ```text
//! for each slice of the row length             (a panel's slice stays in the nearest caches)
//!   for each panel of weight rows:  pack it    (unpack to codes and scales, transposed: rows side by side)
//!     for each few tokens:          tile       (everything in registers)
//! ```
//! Every element of the result is summed in the order of the row, slice after slice, so it depends neither on how
//! many tokens there are nor on how the rows are cut into tasks.

use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

use super::activations::Activations;
use super::kernels::Rows;
use crate::Tile;

/// A register tile and the packed weights it reads.
pub(crate) trait TileKernel {
    /// `ROWS` rows of `STEP` weights, unpacked.
    type Block: Copy + 'static;
    /// Rows of weights per panel.
    const ROWS: usize;
    /// Most tokens per tile.
    const TOKENS: usize;
    /// Weights of a row per block.
    const STEP: usize;
    /// Blocks that hold one step of all rows.
    const BLOCKS_PER_STEP: usize = 1;
    /// Steps per slice.
    const SLICE: usize;
    /// A block to fill fresh memory with.
    const ZERO: Self::Block;

    /// This thread's memory for panels.
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self::Block>>>;

    /// Unpacks at most `ROWS` rows, the steps of `steps`, into the blocks of `panel`. What stands in rows of the panel
    /// that the weights do not have is not looked at.
    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Self::Block]);

    /// Adds to (or, for the first steps, sets) the elements of `y`: its columns are the panel's rows, its rows the
    /// tokens, at most `TOKENS`.
    fn tile(panel: &[Self::Block], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>);
}

/// The product of some rows of weights with all tokens.
pub(crate) fn gemm<K: TileKernel>(rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>) {
    let n_steps = rows.n_in.div_ceil(K::STEP);
    let first = y.columns().start;
    K::scratch().with_borrow_mut(|panel| {
        let most = K::SLICE.min(n_steps) * K::BLOCKS_PER_STEP;
        panel.resize(most.max(panel.len()), K::ZERO);
        for row in (0..rows.n_rows()).step_by(K::ROWS) {
            let n_rows = K::ROWS.min(rows.n_rows() - row);
            let columns = first + row..first + row + n_rows;
            let rows = Rows {
                bytes: &rows.bytes[row * rows.row_bytes..][..n_rows * rows.row_bytes],
                ..*rows
            };
            for step in (0..n_steps).step_by(K::SLICE) {
                let steps = step..n_steps.min(step + K::SLICE);
                let panel = &mut panel[..steps.len() * K::BLOCKS_PER_STEP];
                K::pack(&rows, steps.clone(), panel);
                for t in y.rows().step_by(K::TOKENS) {
                    let tokens = t..y.rows().end.min(t + K::TOKENS);
                    K::tile(panel, x, steps.clone(), &mut y.part(tokens, columns.clone()));
                }
            }
        }
    });
}
