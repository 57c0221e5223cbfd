use std::sync::Mutex;

use gristmill_tensor::{MemorySource, check_range};
use proptest::prelude::*;

use super::*;

fn layout(dims: &[usize], strides: &[u64], offset: u64) -> Layout {
    Layout { dims: dims.into(), strides: strides.into(), offset }
}

/// The elements of all rows, one index at a time.
fn naive(layout: &Layout, width: usize, storage: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    let numel: usize = layout.dims.iter().product();
    for linear in 0..numel {
        let (mut left, mut place) = (linear, layout.offset);
        for (&dim, &stride) in layout.dims.iter().zip(&layout.strides).rev() {
            place += (left % dim) as u64 * stride;
            left /= dim;
        }
        result.extend_from_slice(&storage[place as usize * width..][..width]);
    }
    result
}

/// A source that is not mapped and keeps the lengths of its reads.
struct Plain {
    bytes: Vec<u8>,
    reads: Mutex<Vec<u64>>,
}

impl ByteSource for Plain {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        check_range(self, &range)?;
        self.reads.lock().unwrap().push(range.end - range.start);
        Ok(Bytes::from(self.bytes[range.start as usize..range.end as usize].to_vec()))
    }

    fn name(&self) -> String {
        "test".into()
    }
}

fn storage_of(layout: &Layout, width: usize) -> Vec<u8> {
    let end = layout.end().unwrap() as usize;
    (0..end * width).map(|i| (i % 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_rows_of_any_layout_are_those_of_the_naive_gather(
        axes in prop::collection::vec((0usize..6, 0u64..40), 0..5),
        offset in 0u64..20,
        width in prop::sample::select(vec![1usize, 2, 4, 8]),
        cuts in (0usize..1000, 0usize..1000),
    ) {
        let (dims, strides): (Vec<usize>, Vec<u64>) = axes.into_iter().unzip();
        let layout = layout(&dims, &strides, offset);
        let bytes = storage_of(&layout, width);
        let expected = naive(&layout, width, &bytes);
        let rows = dims.split_last().map_or(1, |(_, outer)| outer.iter().product::<usize>());
        let (a, b) = (cuts.0 % (rows + 1), cuts.1 % (rows + 1));
        let range = a.min(b)..a.max(b);
        let row_bytes = dims.last().copied().unwrap_or(1) * width;
        let expected = &expected[range.start * row_bytes..range.end * row_bytes];
        let mapped = MemorySource::new("test", bytes.clone());
        let plain = Plain { bytes, reads: Mutex::default() };
        prop_assert_eq!(&*layout.read(range.clone(), width, &mapped).unwrap(), expected);
        prop_assert_eq!(&*layout.read(range, width, &plain).unwrap(), expected);
    }

    #[test]
    fn the_end_is_one_past_the_last_element_or_an_overflow(
        axes in prop::collection::vec((0usize..4, any::<u64>()), 0..4),
        offset in any::<u64>(),
    ) {
        let (dims, strides): (Vec<usize>, Vec<u64>) = axes.into_iter().unzip();
        let last = dims.iter().zip(&strides).map(|(&dim, &stride)| (dim as u128).saturating_sub(1) * u128::from(stride));
        let end = last.sum::<u128>() + u128::from(offset) + 1;
        let end = if dims.contains(&0) { Some(0) } else { u64::try_from(end).ok() };
        prop_assert_eq!(layout(&dims, &strides, offset).end(), end);
    }
}

#[test]
fn contiguity_ignores_dimensions_of_one() {
    assert!(layout(&[], &[], 5).is_contiguous());
    assert!(layout(&[4, 3], &[3, 1], 7).is_contiguous());
    assert!(layout(&[1, 3], &[99, 1], 0).is_contiguous());
    assert!(layout(&[4, 1, 3], &[3, 0, 1], 0).is_contiguous());
    assert!(!layout(&[4, 3], &[4, 1], 0).is_contiguous());
    assert!(!layout(&[4, 3], &[1, 4], 0).is_contiguous());
    assert!(!layout(&[4], &[0], 0).is_contiguous());
}

#[test]
fn a_contiguous_slab_is_read_as_one_range() {
    let plain = Plain { bytes: vec![0; 4096], reads: Mutex::default() };
    layout(&[8, 16, 4], &[64, 4, 1], 32).read(3..9, 2, &plain).unwrap();
    assert_eq!(*plain.reads.lock().unwrap(), [6 * 4 * 2]);
}

#[test]
fn a_turned_matrix_is_gathered_with_few_reads_of_bounded_length() {
    // 4 MiB; each row of the turned matrix is a column of the stored one.
    let turned = layout(&[1024, 1024], &[1, 1024], 0);
    let bytes = storage_of(&turned, 4);
    let expected = naive(&turned, 4, &bytes);
    let plain = Plain { bytes, reads: Mutex::default() };
    let slab = turned.read(100..228, 4, &plain).unwrap();
    assert_eq!(*slab, expected[100 * 4096..228 * 4096]);
    let reads = plain.reads.lock().unwrap();
    assert!(reads.len() <= 5, "{reads:?}");
    assert!(reads.iter().all(|&len| len <= AHEAD + 4096), "{reads:?}");
}

#[test]
fn distant_runs_are_read_alone() {
    let sliced = layout(&[64, 4], &[100_000, 1], 3);
    let bytes = storage_of(&sliced, 2);
    let expected = naive(&sliced, 2, &bytes);
    let plain = Plain { bytes, reads: Mutex::default() };
    assert_eq!(*sliced.read(0..64, 2, &plain).unwrap(), expected);
    assert_eq!(*plain.reads.lock().unwrap(), [8; 64]);
}

#[test]
fn an_expanded_element_is_read_once_for_each_row_of_the_storage() {
    let expanded = layout(&[1000, 3], &[0, 1], 0);
    let plain = Plain { bytes: vec![1, 2, 3], reads: Mutex::default() };
    assert_eq!(*expanded.read(0..1000, 1, &plain).unwrap(), [1, 2, 3].repeat(1000));
    assert_eq!(plain.reads.lock().unwrap().len(), 1);
}
