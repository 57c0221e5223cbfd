//! Reading rows that stand in another order in the file, or as columns, or in a type that nobody runs.

use std::ops::Range;

use gristmill_arch::{Direction, Heads, Transform, source_rows};
use gristmill_quant::codec;
use gristmill_tensor::{Bytes, Checkpoint, DType, Error, Result, TensorInfo};

/// How much of a matrix is held at once while its columns are picked out.
const STRIP_BYTES: usize = 256 << 10;

/// The `rows` of the tensor that `source`, one of `raw`, becomes by `transform`, taken in this direction.
pub(crate) fn read(
    raw: &dyn Checkpoint,
    source: &TensorInfo,
    transform: Transform,
    direction: Direction,
    heads: Heads,
    rows: Range<usize>,
) -> Result<Bytes> {
    if transform == Transform::Keep || rows.is_empty() {
        return raw.read(&source.name, rows);
    }
    if transform == Transform::Transpose && source.shape.rank() >= 2 {
        return read_columns(raw, source, rows);
    }
    let order = |rows: Range<usize>, n_rows| -> Result<Vec<usize>> {
        source_rows(transform, direction, heads, rows, n_rows)
            .map(Iterator::collect)
            .map_err(|error| misfit(raw, source, error.to_string()))
    };
    // The "rows" of a bias are its elements; it is read whole.
    if source.shape.rank() < 2 {
        let n = source.shape.numel();
        let bytes = raw.read(&source.name, rows)?;
        return Ok(pick(&bytes, source.dtype.block_bytes(), order(0..n, n)?.into_iter()));
    }
    let order = order(rows.clone(), source.shape.rows())?;
    let (first, last) =
        order.iter().fold((usize::MAX, 0), |(first, last), &row| (first.min(row), last.max(row)));
    // One read of all heads concerned, unless the slab is a small part of them: memory is counted per row.
    if last - first < 2 * rows.len() {
        let bytes = raw.read(&source.name, first..last + 1)?;
        return Ok(pick(&bytes, source.row_bytes(), order.into_iter().map(|row| row - first)));
    }
    let mut gathered = Vec::with_capacity(rows.len() * source.row_bytes());
    for run in order.chunk_by(|row, next| row + 1 == *next) {
        gathered.extend_from_slice(&raw.read(&source.name, run[0]..run[0] + run.len())?);
    }
    Ok(gathered.into())
}

/// The type of the rows that [`read`] gives of a matrix stored as `stored`: blocks do not survive being transposed.
pub(crate) fn given(stored: &TensorInfo, transform: Transform) -> DType {
    let turned = transform == Transform::Transpose && stored.shape.rank() >= 2;
    if turned && stored.dtype.is_quantized() { DType::F32 } else { stored.dtype }
}

/// These columns of `source`, each as a row. The matrix is walked through in strips, which are no larger than twice
/// the result unless a single row is.
fn read_columns(raw: &dyn Checkpoint, source: &TensorInfo, columns: Range<usize>) -> Result<Bytes> {
    let dtype = given(source, Transform::Transpose);
    let size = dtype.block_bytes();
    let (n_rows, row_bytes) = (source.shape.rows(), source.shape.row_len() * size);
    let mut gathered = vec![0; columns.len() * n_rows * size];
    let strip = (STRIP_BYTES.min(2 * gathered.len()) / row_bytes.max(1)).max(1);
    for start in (0..n_rows).step_by(strip) {
        let bytes = raw.read(&source.name, start..n_rows.min(start + strip))?;
        let bytes = widen(bytes, source.dtype, dtype);
        for (number, row) in bytes.chunks_exact(row_bytes).enumerate() {
            let wanted = &row[columns.start * size..columns.end * size];
            for (column, element) in wanted.chunks_exact(size).enumerate() {
                let place = (column * n_rows + start + number) * size;
                gathered[place..place + size].copy_from_slice(element);
            }
        }
    }
    Ok(gathered.into())
}

fn misfit(raw: &dyn Checkpoint, source: &TensorInfo, what: String) -> Error {
    Error::malformed(raw.name(), "checkpoint", 0, format!("tensor {}: {what}", source.name))
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
    let read = codec(from).expect("only types with a codec are presented in another").dequantize;
    let write = codec(to).and_then(|codec| codec.quantize).expect("numbers are written");
    let mut values = vec![0f32; bytes.len() / from.block_bytes() * from.block_len()];
    read(&bytes, &mut values);
    let mut widened = vec![0; values.len() * to.block_bytes()];
    write(&values, &mut widened);
    widened.into()
}

#[cfg(test)]
mod tests {
    use gristmill_tensor::{Metadata, Shape};
    use gristmill_testkit::MemoryCheckpoint;
    use proptest::prelude::*;

    use super::*;

    /// A checkpoint of one tensor whose elements are numbered.
    fn numbered(shape: Shape) -> (MemoryCheckpoint, TensorInfo) {
        let bytes = (0..shape.numel()).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let info = TensorInfo { name: "t".into(), dtype: DType::F32, shape };
        (MemoryCheckpoint::new("raw", Metadata::new("raw"), [(info.clone(), bytes)]), info)
    }

    fn numbers(bytes: &[u8]) -> Vec<usize> {
        bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b) as usize).collect()
    }

    const HEADS: Heads = Heads { n_head: 4, n_head_kv: 2 };

    proptest! {
        #[test]
        fn columns_become_rows(n_rows in 1usize..40, n_columns in 1usize..40, cut in 0usize..40) {
            let (raw, info) = numbered([n_rows, n_columns].into());
            let cut = cut.min(n_columns);
            let mut found = Vec::new();
            for rows in [0..cut, cut..n_columns] {
                let (to_house, transpose) = (Direction::ToHouse, Transform::Transpose);
                let bytes = if rows.is_empty() { continue } else {
                    read(&raw, &info, transpose, to_house, HEADS, rows).unwrap()
                };
                found.extend(numbers(&bytes));
            }
            let expected = (0..n_columns).flat_map(|c| (0..n_rows).map(move |r| r * n_columns + c));
            prop_assert!(found.into_iter().eq(expected));
        }
    }

    #[test]
    fn slabs_of_a_fused_projection_add_up_and_lead_back() {
        let (raw, info) = numbered([16, 3].into());
        let whole = |checkpoint: &MemoryCheckpoint, direction, step| -> Vec<u8> {
            let slabs = (0..16).step_by(step).map(|start| start..16.min(start + step));
            slabs
                .flat_map(|rows| {
                    read(checkpoint, &info, Transform::GroupedQkv, direction, HEADS, rows)
                        .unwrap()
                        .to_vec()
                })
                .collect()
        };
        let house = whole(&raw, Direction::ToHouse, 16);
        let rows: Vec<usize> = numbers(&house).chunks_exact(3).map(|row| row[0] / 3).collect();
        assert_eq!(rows, [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15]);
        let there =
            MemoryCheckpoint::new("house", Metadata::new("house"), [(info.clone(), house.clone())]);
        for step in [1, 3, 5, 8] {
            assert_eq!(whole(&raw, Direction::ToHouse, step), house, "{step}");
            let back = whole(&there, Direction::FromHouse, step);
            assert_eq!(numbers(&back), (0..48).collect::<Vec<_>>(), "{step}");
        }
    }

    #[test]
    fn blocks_are_numbers_once_they_are_transposed() {
        let values: Vec<f32> = (0..64).map(|n| n as f32 - 32.0).collect();
        let mut blocks = vec![0; 68];
        codec(DType::Q8_0).unwrap().quantize.unwrap()(&values, &mut blocks);
        let mut restored = vec![0.0; 64];
        (codec(DType::Q8_0).unwrap().dequantize)(&blocks, &mut restored);
        let info = TensorInfo::new("t", DType::Q8_0, [2, 32]);
        let raw = MemoryCheckpoint::new("x", Metadata::new("x"), [(info.clone(), blocks)]);
        assert_eq!(given(&info, Transform::Transpose), DType::F32);
        let columns = read(&raw, &info, Transform::Transpose, Direction::ToHouse, HEADS, 3..5);
        let expected = [restored[3], restored[35], restored[4], restored[36]];
        assert_eq!(*columns.unwrap(), *expected.map(f32::to_le_bytes).concat());
    }
}
