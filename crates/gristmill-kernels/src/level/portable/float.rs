//! Products in f32 for every type: weights are dequantized into panels of eight rows, one slice at a time.

use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

use wide::f32x8;

use crate::Tile;
use crate::matmul::activations::Activations;
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;
use crate::matmul::matrix::dequantize;

const ROWS: usize = 8;

/// Elements of a row per slice; every block type has a divisor of it as its length.
const SLICE: usize = 256;

/// The kernel for all types.
pub(crate) struct Dequantized;

impl TileKernel for Dequantized {
    /// One column of eight rows.
    type Block = f32x8;
    const ROWS: usize = ROWS;
    const TOKENS: usize = 4;
    const STEP: usize = 1;
    const SLICE: usize = SLICE;
    const ZERO: f32x8 = f32x8::ZERO;

    fn scratch() -> &'static LocalKey<RefCell<Vec<f32x8>>> {
        thread_local! { static PANEL: RefCell<Vec<f32x8>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [f32x8]) {
        let bytes = |n| rows.dtype.row_bytes(n).expect("slices are whole blocks");
        let mut piece = [0.0; SLICE];
        let piece = &mut piece[..steps.len()];
        for (r, row) in rows.iter().enumerate() {
            dequantize(rows.dtype, &row[bytes(steps.start)..bytes(steps.end)], piece);
            for (column, &weight) in panel.iter_mut().zip(&*piece) {
                column.as_mut_array()[r] = weight;
            }
        }
    }

    fn tile(panel: &[f32x8], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        match y.rows().len() {
            1 => tile::<1>(panel, x, steps, y),
            2 => tile::<2>(panel, x, steps, y),
            3 => tile::<3>(panel, x, steps, y),
            _ => tile::<4>(panel, x, steps, y),
        }
    }
}

fn tile<const N: usize>(
    panel: &[f32x8],
    x: &Activations,
    steps: Range<usize>,
    y: &mut Tile<'_, f32>,
) {
    let tokens = y.rows();
    let xs: [&[f32]; N] =
        std::array::from_fn(|n| &x.row(tokens.start + n)[steps.clone()][..panel.len()]);
    let mut sums = [f32x8::ZERO; N];
    for (k, &column) in panel.iter().enumerate() {
        for n in 0..N {
            sums[n] = column.mul_add(f32x8::splat(xs[n][k]), sums[n]);
        }
    }
    for (t, sums) in tokens.zip(sums) {
        for (y, sum) in y.row_mut(t).iter_mut().zip(sums.to_array()) {
            *y = if steps.start == 0 { sum } else { *y + sum };
        }
    }
}
