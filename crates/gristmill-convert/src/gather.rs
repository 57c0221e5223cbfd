//! Reading rows that stand in another order in the file, or in a type that nobody runs.

use std::ops::Range;

use gristmill_arch::{Heads, Transform, source_rows};
use gristmill_quant::codec;
use gristmill_tensor::{Bytes, Checkpoint, DType, Error, Result, TensorInfo};

/// The rows of the house's tensor that `stored` becomes by `transform`.
pub(crate) fn read(
    raw: &dyn Checkpoint,
    stored: &TensorInfo,
    transform: Transform,
    heads: Heads,
    rows: Range<usize>,
) -> Result<Bytes> {
    if transform == Transform::Keep || rows.is_empty() {
        return raw.read(&stored.name, rows);
    }
    let misfit = |error| {
        Error::malformed(raw.name(), "checkpoint", 0, format!("tensor {}: {error}", stored.name))
    };
    // The "rows" of a bias are its elements; it is read whole.
    if stored.shape.rank() < 2 {
        let n = stored.shape.numel();
        let order: Vec<usize> = source_rows(transform, heads, 0..n, n).map_err(misfit)?.collect();
        let bytes = raw.read(&stored.name, rows)?;
        return Ok(pick(&bytes, stored.dtype.block_bytes(), order.into_iter()));
    }
    let n_rows = stored.shape.rows();
    let order: Vec<usize> =
        source_rows(transform, heads, rows.clone(), n_rows).map_err(misfit)?.collect();
    let (first, last) =
        order.iter().fold((usize::MAX, 0), |(first, last), &row| (first.min(row), last.max(row)));
    // One read of all heads concerned, unless the slab is a small part of a head: memory is counted per row.
    if last - first < 2 * rows.len() {
        let bytes = raw.read(&stored.name, first..last + 1)?;
        return Ok(pick(&bytes, stored.row_bytes(), order.into_iter().map(|row| row - first)));
    }
    let mut gathered = Vec::with_capacity(rows.len() * stored.row_bytes());
    for row in order {
        gathered.extend_from_slice(&raw.read(&stored.name, row..row + 1)?);
    }
    Ok(gathered.into())
}

/// The pieces of `size` bytes with these numbers, in this order.
fn pick(bytes: &[u8], size: usize, order: impl ExactSizeIterator<Item = usize>) -> Bytes {
    let mut picked = Vec::with_capacity(order.len() * size);
    order.for_each(|number| picked.extend_from_slice(&bytes[number * size..(number + 1) * size]));
    picked.into()
}

/// The same numbers as `to`, which is `from` itself or `F32`.
pub(crate) fn widen(bytes: Bytes, from: DType, to: DType) -> Bytes {
    if from == to {
        return bytes;
    }
    let codec = codec(from).expect("only types with a codec are presented in another type");
    let mut values = vec![0f32; bytes.len() / from.block_bytes()];
    (codec.dequantize)(&bytes, &mut values);
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
}
