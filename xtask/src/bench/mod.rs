//! `bench`: the criterion benches, full-size files for them, comparisons with other engines, and the page that shows them.

mod model;
mod page;
mod peers;
mod pypi;

use crate::Result;
use crate::shell::{cargo, run as run_command};

/// `bench model …`, `bench peers …`, `bench page …`, or the criterion benches with the words given.
pub(crate) fn run(arguments: &[String]) -> Result {
    match arguments.first().map(String::as_str) {
        Some("model") => model::run(&arguments[1..]),
        Some("peers") => peers::run(&arguments[1..]),
        Some("page") => page::run(&arguments[1..]),
        _ => {
            let mut command = cargo(&["bench", "--package", "gristmill-benches", "--"]);
            run_command(command.args(arguments))
        }
    }
}
