//! Rows of before mid-March 2023: all scales of a row, then all nibbles, where later files have block after block.
//!
//! ```text
//! Q4_0   │ d: f32 × n │ qs: 16 bytes × n │                 n = blocks of a row
//! Q4_1   │ m: f32 × n │ d: f32 × n │ qs: 16 bytes × n │
//! ```
//!
//! The bytes are as many and nothing marks such files, but nibbles make wild floats: of the two ways to read a row, in
//! one all scales are of the size of a weight's, in the other hardly any. Rows are handed on block after block.

use gristmill_tensor::{DType, TensorInfo};

/// Bytes of the nibbles of a block.
const NIBBLES: usize = 16;

/// How many floats stand in front of a block's nibbles, for the types that there were.
fn n_scales(dtype: DType) -> Option<usize> {
    match dtype {
        DType::Q4_0_V0 => Some(1),
        DType::Q4_1_V0 => Some(2),
        _ => None,
    }
}

/// Whether rows of a tensor of this kind may be planar.
pub(crate) fn may_be(info: &TensorInfo) -> bool {
    n_scales(info.dtype).is_some() && info.shape.rank() > 1
}

/// Whether these first rows of a tensor make sense as planar ones and as nothing else.
pub(crate) fn is_planar(info: &TensorInfo, rows: &[u8]) -> bool {
    let Some(n_scales) = n_scales(info.dtype) else { return false };
    let size = 4 * n_scales + NIBBLES;
    let row_bytes = info.row_bytes();
    if row_bytes == 0 {
        return false;
    }
    let n_blocks = row_bytes / size;
    let plausible = |scales: &[u8]| {
        scales.as_chunks::<4>().0.iter().all(|&bytes| {
            let scale = f32::from_le_bytes(bytes).abs();
            scale == 0.0 || (1e-8..=10.0).contains(&scale)
        })
    };
    let in_blocks = rows.chunks_exact(size).all(|block| plausible(&block[..4 * n_scales]));
    let in_planes =
        || rows.chunks_exact(row_bytes).all(|row| plausible(&row[..4 * n_scales * n_blocks]));
    !in_blocks && in_planes()
}

/// Planar rows as blocks.
pub(crate) fn to_blocks(info: &TensorInfo, rows: &[u8]) -> Vec<u8> {
    let Some(n_scales) = n_scales(info.dtype) else { return rows.to_vec() };
    let n_blocks = info.row_bytes() / (4 * n_scales + NIBBLES);
    let mut blocks = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(info.row_bytes().max(1)) {
        let (scales, nibbles) = row.split_at(4 * n_scales * n_blocks);
        for (number, nibbles) in nibbles.chunks_exact(NIBBLES).enumerate() {
            // A block has its scale first, then its minimum; planes stand the other way round.
            for plane in (0..n_scales).rev() {
                let at = 4 * (plane * n_blocks + number);
                blocks.extend_from_slice(&scales[at..at + 4]);
            }
            blocks.extend_from_slice(nibbles);
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of blocks with scales of a hundredth and nibbles of all kinds.
    fn rows(dtype: DType, n_rows: usize, n_blocks: usize) -> (TensorInfo, Vec<u8>) {
        let info = TensorInfo::new("t", dtype, [n_rows, 32 * n_blocks]);
        let mut bytes = Vec::new();
        let mut state = 1u32;
        for block in 0..n_rows * n_blocks {
            for scale in 0..n_scales(dtype).unwrap() {
                bytes.extend((0.01 * (1 + block % 7 + 3 * scale) as f32).to_le_bytes());
            }
            for _ in 0..NIBBLES {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                bytes.push((state >> 24) as u8);
            }
        }
        (info, bytes)
    }

    /// The other way round, as the tools of February 2023 wrote them.
    fn to_planes(info: &TensorInfo, blocks: &[u8]) -> Vec<u8> {
        let n_scales = n_scales(info.dtype).unwrap();
        let size = 4 * n_scales + NIBBLES;
        let mut planes = Vec::new();
        for row in blocks.chunks_exact(info.row_bytes()) {
            for plane in (0..n_scales).rev() {
                row.chunks_exact(size).for_each(|b| planes.extend(&b[4 * plane..4 * plane + 4]));
            }
            row.chunks_exact(size).for_each(|b| planes.extend(&b[4 * n_scales..]));
        }
        planes
    }

    #[test]
    fn planes_are_told_from_blocks_and_become_blocks() {
        for dtype in [DType::Q4_0_V0, DType::Q4_1_V0] {
            for (n_rows, n_blocks) in [(4, 2), (8, 3), (2, 128)] {
                let (info, blocks) = rows(dtype, n_rows, n_blocks);
                let planes = to_planes(&info, &blocks);
                assert!(is_planar(&info, &planes), "{dtype} {n_blocks}");
                assert!(!is_planar(&info, &blocks), "{dtype} {n_blocks}");
                assert_eq!(to_blocks(&info, &planes), blocks, "{dtype} {n_blocks}");
            }
        }
    }

    #[test]
    fn rows_of_one_block_are_both() {
        let (info, blocks) = rows(DType::Q4_0_V0, 8, 1);
        assert!(!is_planar(&info, &blocks));
        assert_eq!(to_blocks(&info, &blocks), blocks);
    }
}
