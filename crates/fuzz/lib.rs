//! What every target does with a file: open it and read all that it claims to hold.
#![forbid(unsafe_code)]

use std::sync::Arc;

use gristmill_tensor::{Format, MemorySource, OpenContext};

/// The most that a tensor of a small file may sensibly expand to.
const MOST_BYTES: u64 = 64 << 20;

/// Opens `data` as a file of `format` and reads every tensor, row by row at both ends and whole where it is small.
pub fn exercise(format: &dyn Format, data: &[u8]) {
    let source = Arc::new(MemorySource::new("fuzz", data.to_vec()));
    let Ok(checkpoint) = format.open(source, &OpenContext::default()) else { return };
    for info in checkpoint.tensors() {
        let rows = info.shape.rows();
        if rows == 0 || info.n_bytes() > MOST_BYTES {
            continue;
        }
        let whole = checkpoint.read(&info.name, 0..rows);
        let last = checkpoint.read(&info.name, rows - 1..rows);
        if let (Ok(whole), Ok(last)) = (whole, last) {
            assert!(whole.ends_with(&last), "{}: a row is a part of its tensor", info.name);
        }
    }
}
