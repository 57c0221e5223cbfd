//! `completions`: what a shell needs to complete gristmill's commands and options.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::exit::Result;
use crate::output;

/// Prints the script.
pub(crate) fn run(args: Completions) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gristmill", &mut script);
    output::text(&String::from_utf8_lossy(&script));
    Ok(())
}
