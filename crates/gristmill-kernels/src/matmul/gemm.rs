//! The loops around a tile kernel: many tokens, weights unpacked once for all of them.
//!
//! ```text
//! for each panel of weight rows:  pack it    (unpack to codes and scales, transposed: rows side by side)
//!   for each few tokens:          tile       (everything in registers)
//! ```
//! A panel stays in the second-level cache while the activations stream past it. Both stand in the [`Order`] in which
//! they are summed, so that both are read from front to back.

use std::cell::RefCell;
use std::thread::LocalKey;

use super::activations::Activations;
use super::kernels::{Form, Rows, TileShape};
use super::order::Order;
use crate::Tile;

/// `ROWS` rows of a step, unpacked; each thread has memory for a panel of every kind.
pub(crate) trait Block: Copy + 'static {
    /// To fill fresh memory with.
    const ZERO: Self;

    /// This thread's memory.
    fn panel() -> &'static LocalKey<RefCell<Vec<Self>>>;
}

/// Implements [`Block`] for types that have a constant `ZERO`.
macro_rules! blocks {
    ($($block:ty)*) => { $(
        impl $crate::matmul::gemm::Block for $block {
            const ZERO: Self = <$block>::ZERO;

            fn panel() -> &'static std::thread::LocalKey<std::cell::RefCell<Vec<Self>>> {
                thread_local! {
                    static PANEL: std::cell::RefCell<Vec<$block>> = const { std::cell::RefCell::new(Vec::new()) }
                }
                &PANEL
            }
        }
    )* };
}
pub(crate) use blocks;

/// A register tile and the packed weights it reads.
pub(crate) trait TileKernel {
    /// What panels are made of.
    type Block: Block;
    /// A step of one token's activations.
    type Column;
    /// Rows of weights per panel.
    const ROWS: usize;
    /// Weights of a row per step.
    const STEP: usize;
    /// What kind of activations it multiplies with.
    const FORM: Form;
    /// Most tokens of a tile, and how steps are summed.
    const SHAPE: TileShape;
    /// The activations of all tokens: tile after tile, step after step, token after token.
    fn columns(x: &Activations) -> &[Self::Column];

    /// Unpacks at most `ROWS` rows; step `s` goes to `panel[order.place(s)]`. What stands in rows of the panel that the
    /// weights do not have is not looked at.
    fn pack(rows: &Rows<'_>, order: Order, panel: &mut [Self::Block]);

    /// Sets the elements of `y`, the panel's rows by a few tokens, whose `columns` stand step after step. Meanwhile asks
    /// for the memory of `next`, which will be packed later.
    fn tile(
        panel: &[Self::Block],
        columns: &[Self::Column],
        order: Order,
        next: &[u8],
        y: &mut Tile<'_, f32>,
    );
}

/// The product of some rows of weights with all tokens.
pub(crate) fn gemm<K: TileKernel>(rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>) {
    let order = Order::new(rows.n_in.div_ceil(K::STEP), K::SHAPE.cut);
    let (n_places, first) = (order.n_places(), y.columns().start);
    let (columns, tile_tokens) = (K::columns(x), K::SHAPE.balanced(y.rows().len()).tokens);
    K::Block::panel().with_borrow_mut(|panel| {
        panel.resize(n_places.max(panel.len()), K::Block::ZERO);
        let panel = &mut panel[..n_places];
        for row in (0..rows.n_rows()).step_by(K::ROWS) {
            let n_rows = K::ROWS.min(rows.n_rows() - row);
            K::pack(&rows.part(row..row + n_rows), order, panel);
            let tiles = y.rows().step_by(tile_tokens);
            let next = rows.after(row + n_rows, K::ROWS * rows.row_bytes);
            let mut next = next.chunks(next.len().div_ceil(tiles.len()).max(1));
            for t in tiles {
                let tokens = t..y.rows().end.min(t + tile_tokens);
                let columns = &columns[tokens.start * n_places..tokens.end * n_places];
                let mut y = y.part(tokens, first + row..first + row + n_rows);
                K::tile(panel, columns, order, next.next().unwrap_or_default(), &mut y);
            }
        }
    });
}
