//! `ci`: what CI runs, step by step. A laptop runs the same.

use crate::shell::{cargo, run as run_command};
use crate::{Result, tidy};

/// Every step in order; the first failure ends the run.
pub(crate) fn run(_: &[String]) -> Result {
    run_command(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run(&[])?;
    run_command(
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
            .env("CARGO_TERM_COLOR", "never"),
    )?;
    run_command(&mut cargo(&["test", "--workspace", "--locked"]))?;
    run_command(
        cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}
