//! The loops around a kernel for a few tokens: weights are taken as they lie in the file, once for all of them.
//!
//! Kernels are compiled for one, two, four and eight tokens, half of what may come, since there is one for every type and
//! level. Other numbers are put together: some rows, few enough for the second-level cache, meet the tokens in parts.

use super::activations::{Activations, Group};
use super::kernels::{Form, Rows, Way};
use crate::Tile;

/// Tokens for which unpacking the weights into panels does not pay.
pub(crate) const FEW: usize = 8;

/// Bytes of rows that stay in the second-level cache while the tokens meet them in parts.
const NEAR_BYTES: usize = 1 << 17;

/// Products of rows with a few tokens.
pub(crate) trait FewKernel {
    /// Rows whose sums are written together.
    const ROWS: usize;

    /// Sets the elements of `y`, the products of the rows with `N` tokens: those whose activations are `groups`, token
    /// after token.
    fn products<const N: usize>(rows: &Rows<'_>, groups: &[Group], y: &mut Tile<'_, f32>);
}

/// The way of such a kernel.
pub(crate) fn few<K: FewKernel>() -> Way {
    Way { kernel: gemv::<K>, form: Form::Int8, tiles: None }
}

/// The product of some rows of weights with at most [`FEW`] tokens.
fn gemv<K: FewKernel>(rows: &Rows<'_>, x: &Activations, y: &mut Tile<'_, f32>) {
    let (tokens, first) = (y.rows(), y.columns().start);
    let n_groups = x.groups().len() / tokens.len();
    let n_together = if tokens.len().is_power_of_two() {
        rows.n_rows()
    } else {
        (NEAR_BYTES / rows.row_bytes).max(1).next_multiple_of(K::ROWS)
    };
    for start in (0..rows.n_rows()).step_by(n_together) {
        let end = rows.n_rows().min(start + n_together);
        let (rows, mut groups, mut token) = (rows.part(start..end), x.groups(), tokens.start);
        while token < tokens.end {
            let n = 1 << (tokens.end - token).min(FEW).ilog2();
            let (now, later) = groups.split_at(n * n_groups);
            let y = &mut y.part(token..token + n, first + start..first + end);
            match n {
                1 => K::products::<1>(&rows, now, y),
                2 => K::products::<2>(&rows, now, y),
                4 => K::products::<4>(&rows, now, y),
                _ => K::products::<8>(&rows, now, y),
            }
            (groups, token) = (later, token + n);
        }
    }
}
