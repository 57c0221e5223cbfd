//! The `gristmill` command: parses, calls the library, prints. Nothing that a program could want stands here; it is
//! all in the `gristmill` crate.
#![forbid(unsafe_code)]

mod args;
mod chat;
mod commands;
mod exit;
mod generate;
mod human;
mod interactive;
mod interrupt;
mod limits;
mod model;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse_from(args::Bench::spelled_out(std::env::args_os()));
    interrupt::listen();
    let result = match cli.command {
        Command::Convert(args) => commands::convert::run(args),
        Command::Quantize(args) => commands::quantize::run(args),
        Command::Run(args) => commands::run::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Tokenize(args) => commands::tokenize::run(args),
        Command::Logits(args) => commands::logits::run(args),
        Command::Perplexity(args) => commands::perplexity::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Completions(args) => commands::completions::run(args),
    };
    match result {
        Ok(()) => Exit::Success.into(),
        Err(Failure::Interrupted) => Exit::Interrupted.into(),
        Err(Failure::Message(message)) => {
            eprintln!("error: {message}");
            Exit::Failure.into()
        }
    }
}
