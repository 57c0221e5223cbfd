//! Texts that must not change by accident.

use std::path::Path;

/// Compares `text` with the file `name` under the workspace's `testdata/golden`; writes it there instead when
/// `UPDATE_GOLDEN` is set.
///
/// # Panics
/// When they differ, or the file cannot be read or written.
#[track_caller]
pub fn assert_golden(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let path = folder.join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        std::fs::write(&path, text).expect("the file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{name}: {error}; run again with UPDATE_GOLDEN=1"));
    for (number, (found, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of {name}; UPDATE_GOLDEN=1 accepts it", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "lines of {name}");
}
