//! Models and answers made by other programs, too large to be committed.

use std::path::PathBuf;

/// The folder named by `GRISTMILL_ORACLE`. Without it the test `name` says on stderr that it does nothing, and should
/// return.
pub fn oracle(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GRISTMILL_ORACLE").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: {name}: set GRISTMILL_ORACLE to the folder of reference models");
    }
    folder
}
