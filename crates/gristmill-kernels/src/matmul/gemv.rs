//! A few tokens: weights are taken as they lie in the file, once for all of them.

use super::activations::Group;
use super::kernels::{Form, Rows, Way};
use crate::Tile;

/// Tokens for which unpacking the weights into panels does not pay.
pub(crate) const FEW: usize = 8;

/// Products of rows with a few tokens.
pub(crate) trait FewKernel {
    /// Sets the elements of `y`, the products of the rows with its tokens, at most [`FEW`]. Their activations are
    /// `groups`, token after token.
    fn products(rows: &Rows<'_>, groups: &[Group], y: &mut Tile<'_, f32>);
}

/// The way of such a kernel.
pub(crate) fn few<K: FewKernel>() -> Way {
    Way { kernel: |rows, x, y| K::products(rows, x.groups(), y), form: Form::Int8, tiles: None }
}
