//! `completions`: what a shell needs to complete gristmill's commands and options.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::exit::Result;

/// Prints the script.
pub(crate) fn run(args: Completions) -> Result {
    clap_complete::generate(args.shell, &mut Cli::command(), "gristmill", &mut std::io::stdout());
    Ok(())
}
