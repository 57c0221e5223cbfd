//! Models in several files are the models that they were cut from.

use std::fs;
use std::path::Path;

use crate::common::{Raw, open_path, pattern};
use gristmill_ggml::{join, part_paths};
use gristmill_tensor::{Checkpoint, Result};

const N_EMBD: usize = 128;
const N_FF: usize = 256;

/// A matrix by name, rows and columns, and whether parts have some of its columns.
const MATRICES: [(&str, usize, usize, bool); 5] = [
    ("tok_embeddings.weight", 3, N_EMBD, true),
    ("layers.0.attention.wq.weight", N_EMBD, N_EMBD, false),
    ("layers.0.attention.wo.weight", N_EMBD, N_EMBD, true),
    ("layers.0.feed_forward.w1.weight", N_FF, N_EMBD, false),
    ("layers.0.feed_forward.w2.weight", N_EMBD, N_FF, true),
];

/// The bytes of so many weights, Q4_0 of the time or F32.
fn n_bytes(id: u32, n: usize) -> usize {
    if id == 2 { n / 32 * 20 } else { n * 4 }
}

/// Part `number` of `n_parts`.
fn part(n_parts: usize, number: usize, id: u32) -> Raw {
    let mut raw = Raw::new(b"fmgg", &[1, 3, N_EMBD as u32, 32, 2, 1, 64, id]);
    raw.aligned = false;
    (0..3u8).for_each(|token| {
        raw.scored(&[b'a' + token], 0.0);
    });
    raw.tensor("norm.weight", &[N_EMBD as u32], 0, 4 * N_EMBD);
    for (name, rows, columns, by_columns) in MATRICES {
        let whole = pattern(n_bytes(id, rows * columns));
        let row_bytes = n_bytes(id, columns);
        let (rows, columns, data) = match by_columns {
            true => {
                let share = row_bytes / n_parts;
                let data = whole.chunks(row_bytes).flat_map(|row| &row[number * share..][..share]);
                (rows, columns / n_parts, data.copied().collect())
            }
            false => {
                let share = whole.len() / n_parts;
                (rows / n_parts, columns, whole[number * share..][..share].to_vec())
            }
        };
        raw.record(name, &[columns as u32, rows as u32], id).raw(&data);
    }
    raw
}

fn write(folder: &Path, n_parts: usize, id: u32) -> std::path::PathBuf {
    let first = folder.join("ggml-model.bin");
    for number in 0..n_parts {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        let path = folder.join(format!("ggml-model.bin{suffix}"));
        fs::write(path, part(n_parts, number, id).bytes).unwrap();
    }
    first
}

fn joined(path: &Path) -> Result<Box<dyn Checkpoint>> {
    let paths = part_paths(path).unwrap_or_else(|| vec![path.to_path_buf()]);
    join(paths.iter().map(|path| open_path(path)).collect::<Result<_>>()?)
}

#[test]
fn parts_are_the_whole() {
    for id in [0, 2] {
        let whole = part(1, 0, id).open().unwrap();
        for n_parts in [1, 2, 4] {
            let folder = tempfile::tempdir().unwrap();
            let path = write(folder.path(), n_parts, id);
            let model = joined(&path).unwrap();
            assert_eq!(model.tensors(), whole.tensors(), "{n_parts} parts");
            assert!(model.metadata().iter().eq(whole.metadata().iter()));
            for info in whole.tensors() {
                let n_rows = info.shape.rows();
                for rows in [0..n_rows, n_rows / 3..n_rows, 0..1, n_rows - 1..n_rows] {
                    let want = whole.read(&info.name, rows.clone()).unwrap();
                    let have = model.read(&info.name, rows.clone()).unwrap();
                    assert!(*have == *want, "{n_parts} parts: {} {rows:?}", info.name);
                }
            }
        }
    }
}

#[test]
fn any_part_stands_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), 4, 0);
    let all = part_paths(&first).unwrap();
    assert_eq!(all.len(), 4);
    for part in &all {
        assert_eq!(part_paths(part).as_ref(), Some(&all));
    }
    assert_eq!(part_paths(&folder.path().join("model-7.1")), None);
}

#[test]
fn a_missing_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), 4, 0);
    fs::remove_file(folder.path().join("ggml-model.bin.2")).unwrap();
    let error = joined(&first).err().unwrap().to_string();
    assert!(error.contains("2 of 4 parts") && error.contains("ending in .1"), "{error}");
    assert!(join(Vec::new()).is_err());
}

#[test]
fn parts_of_other_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), 2, 0);
    let second = folder.path().join("ggml-model.bin.1");
    let original = fs::read(&second).unwrap();

    fs::write(&second, part(2, 1, 2).bytes).unwrap();
    assert!(joined(&first).err().unwrap().to_string().contains("header or vocabulary"));
    fs::write(&second, part(4, 1, 0).bytes).unwrap();
    assert!(joined(&first).err().unwrap().to_string().contains("is not like that of"));
    let mut shorter = part(2, 1, 0);
    shorter.bytes.truncate(original.len() - n_bytes(0, N_EMBD * N_FF / 2) - 12 - 8 - 31);
    fs::write(&second, &shorter.bytes).unwrap();
    assert!(joined(&first).err().unwrap().to_string().contains("not as many tensors"));
}

#[test]
fn a_file_that_is_only_called_like_a_part_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), 1, 0);
    fs::copy(&first, folder.path().join("ggml-model.bin.1")).unwrap();
    let model = joined(&first).unwrap();
    assert_eq!(model.tensors(), part(1, 0, 0).open().unwrap().tensors());
}
