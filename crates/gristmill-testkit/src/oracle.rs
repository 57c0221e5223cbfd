//! Models and answers made by other programs, too large to be committed.

use std::io::Write;
use std::path::PathBuf;

/// The folder named by `GRISTMILL_ORACLE`. Without it the test `name` says on stderr that it does nothing, and should
/// return. It says so past the test runner, which hides what passing tests print.
pub fn oracle(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GRISTMILL_ORACLE").map(PathBuf::from);
    if folder.is_none() {
        let remark =
            format!("SKIPPED: {name}: set GRISTMILL_ORACLE to the folder of reference models\n");
        // A test is not worse for a remark that cannot be written.
        let _ = std::io::stderr().write_all(remark.as_bytes());
    }
    folder
}
