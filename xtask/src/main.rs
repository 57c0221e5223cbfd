//! `cargo xtask COMMAND`: everything a maintainer does, and exactly what CI runs.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command-line tool talks on standard output")]

mod arm;
mod bench;
mod calls;
mod checkpoint;
mod ci;
mod picture;
mod random;
mod shell;
mod tidy;

use std::process::ExitCode;

/// What a command gives: nothing, or one line for the maintainer.
type Result<T = ()> = std::result::Result<T, String>;

/// A command: its name and arguments, what it does, and the function that does it.
struct Command(&'static str, &'static str, fn(&[String]) -> Result);

const COMMANDS: &[Command] = &[
    Command("ci", "run every check that CI runs: fmt, clippy, tidy, test, doc", ci::run),
    Command("tidy", "check layers, file sizes, unsafe code, docs and paths", tidy::run),
    Command(
        "bench [criterion options]",
        "run the criterion benches; `bench peers` compares with llama.cpp, `bench model` makes full-size files, \
         `bench page` measures docs/performance.md anew",
        bench::run,
    ),
    Command(
        "arm [setup]",
        "run the tests of kernels and encoders for 64-bit Arm under qemu; `arm setup` gets the tools from Debian's packages",
        arm::run,
    ),
    Command(
        "calls [PART OF A NAME…]",
        "list what the kernels' inner loops call because the compiler did not inline it",
        calls::run,
    ),
    Command("picture", "run the demo and draw its output for the README", picture::run),
    Command(
        "checkpoint FOLDER [--n-layer N]",
        "write a checkpoint of GPT-J-6B's shape (12 GB) with random f16 weights",
        checkpoint::run,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen = arguments.first().and_then(|name| {
        COMMANDS.iter().find(|command| command.0.split(' ').next() == Some(name.as_str()))
    });
    let Some(Command(_, _, run)) = chosen else {
        println!("usage: cargo xtask COMMAND\n");
        for Command(name, help, _) in COMMANDS {
            println!("  {name:<32} {help}");
        }
        let asked_for_help =
            matches!(arguments.first().map(String::as_str), Some("help" | "--help" | "-h"));
        return if asked_for_help { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    match run(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
