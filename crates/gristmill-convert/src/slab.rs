//! The memory budget: how many rows are in work at once, and on how many threads.
//!
//! A worker holds one slab: its stored rows, some of the same rows as `f32` (and once more where the error is measured), and the rows as they will be stored. Slabs
//! are never so large that all workers together exceed the budget. When a single row is too long for that, fewer
//! workers are used; rows are quantized one by one, so neither choice shows in the bytes that are written.

use std::ops::Range;

use crate::plan::{PlannedTensor, Step};
use crate::{Error, Result};

/// Stored bytes of a slab where the budget allows: enough to hide the calls, and so few that the memory of one slab is
/// still in the cache, and still the process's own, when the next one wants it.
const SLAB_BYTES: u64 = 2 << 20;

/// A run of rows of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slab {
    /// Position in the plan.
    pub(crate) tensor: usize,
    /// Which rows.
    pub(crate) rows: Range<usize>,
}

/// All slabs in the order of the file, and how many of them may be in work at once.
#[derive(Debug)]
pub(crate) struct Slabs {
    pub(crate) slabs: Vec<Slab>,
    pub(crate) workers: usize,
}

impl Slabs {
    /// Cuts `tensors` for at most `threads` workers within `memory` bytes.
    pub(crate) fn cut(tensors: &[PlannedTensor], memory: u64, threads: usize) -> Result<Slabs> {
        let mut workers = threads.max(1) as u64;
        for tensor in tensors {
            let needed = row_cost(tensor);
            if needed > memory {
                let tensor = tensor.target.name.clone();
                return Err(Error::Memory { tensor, needed, budget: memory });
            }
            workers = workers.min(memory / needed);
        }
        let share = memory / workers;
        let mut slabs = Vec::new();
        for (position, tensor) in tensors.iter().enumerate() {
            let n_rows = tensor.target.shape.rows();
            let preferred = SLAB_BYTES / (tensor.source.row_bytes() as u64).max(1);
            let rows = preferred.clamp(1, share / row_cost(tensor)) as usize;
            slabs.extend(
                (0..n_rows)
                    .step_by(rows)
                    .map(|start| Slab { tensor: position, rows: start..n_rows.min(start + rows) }),
            );
        }
        let workers = workers.min(slabs.len().max(1) as u64) as usize;
        Ok(Slabs { slabs, workers })
    }
}

/// The most bytes that one row takes while it is in work; at least 1.
fn row_cost(tensor: &PlannedTensor) -> u64 {
    let source = tensor.source.row_bytes() as u64;
    let elements = tensor.source.shape.row_len() as u64;
    let floats = if tensor.is_measured() { 8 * elements } else { 4 * elements };
    let cost = match tensor.step() {
        Step::Copy => source,
        _ => source + floats + tensor.target.row_bytes() as u64,
    };
    // Where rows are put into another order, twice as many are held besides, as they lie in the file.
    (cost + 2 * source).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_tensor::{DType, TensorInfo};

    fn planned<const N: usize>(shape: [usize; N], from: DType, to: DType) -> PlannedTensor {
        PlannedTensor {
            source: TensorInfo::new("t", from, shape),
            target: TensorInfo::new("t", to, shape),
        }
    }

    #[test]
    fn every_row_is_in_exactly_one_slab_and_the_workers_fit_the_budget() {
        let tensors =
            [planned([1000, 4096], DType::F16, DType::Q4_0), planned([7], DType::F32, DType::F32)];
        for memory in [1 << 20, 32 << 20, 1 << 30] {
            for threads in [1, 2, 64] {
                let Slabs { slabs, workers } = Slabs::cut(&tensors, memory, threads).unwrap();
                let mut next = 0;
                for slab in slabs.iter().filter(|slab| slab.tensor == 0) {
                    assert_eq!(slab.rows.start, next);
                    next = slab.rows.end;
                    let in_work = workers as u64 * slab.rows.len() as u64 * row_cost(&tensors[0]);
                    assert!(in_work <= memory, "{in_work} bytes of {memory}");
                }
                assert_eq!(next, 1000);
                assert_eq!(slabs.iter().filter(|slab| slab.tensor == 1).count(), 1);
            }
        }
    }

    #[test]
    fn a_row_that_cannot_fit_is_refused_by_name() {
        let tensors = [planned([2, 1 << 20], DType::F32, DType::F32)];
        let error = Slabs::cut(&tensors, 1 << 20, 4).unwrap_err();
        assert!(matches!(error, Error::Memory { ref tensor, .. } if tensor == "t"), "{error}");
    }

    #[test]
    fn long_rows_leave_fewer_workers() {
        let tensors = [planned([64, 1 << 20], DType::F32, DType::F32)];
        assert_eq!(Slabs::cut(&tensors, 30 << 20, 8).unwrap().workers, 2);
    }
}
