//! gristmill.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Engine, converted, scratch};
use crate::Result;
use crate::bench::peers::work::{Figure, Work, speeds};
use crate::shell::output;

/// The program.
pub(super) struct Ours(pub(super) PathBuf);

impl Engine for Ours {
    fn measure(&self, work: &Work, model: &Path, n_threads: usize) -> Result<Vec<Figure>> {
        let threads = n_threads.to_string();
        let command = |verb: &str| {
            let mut command = Command::new(&self.0);
            command.arg(verb).arg(model).args(["-t", &threads]);
            command
        };
        let bench = |n_prompt: usize, n_gen: usize, n_depth: usize, n_parallel: usize| {
            let mut command = command("bench");
            command.args(["-v", "-o", "json", "-r", "1"]);
            let numbers =
                [("-p", n_prompt), ("-n", n_gen), ("-d", n_depth), ("--batch", n_parallel)];
            command.args(numbers.iter().flat_map(|(flag, n)| [flag.to_string(), n.to_string()]));
            speeds(&output(&mut command)?)
        };
        match work {
            &Work::Speed { n_prompt, n_gen, n_depth } => bench(n_prompt, n_gen, n_depth, 1),
            &Work::Together { n_prompt, n_gen, n_parallel } => {
                bench(0, n_gen, n_prompt, n_parallel)
            }
            Work::Start => {
                let mut command = command("run");
                command.args(["--tokens", "1", "-n", "1", "--ignore-eos", "--temp", "0", "-q"]);
                Figure::timed("first token", &mut command)
            }
            Work::Quantize(outtype) => {
                let mut command = command("quantize");
                command.arg(scratch()?.join("quantized.gguf")).arg(outtype);
                command.args(["--force", "-q", "--allow-requantize"]);
                Figure::timed(&format!("to {outtype}"), &mut command)
            }
            Work::Convert => {
                let mut command = command("convert");
                command.arg("-q").arg("-o").arg(converted()?);
                Figure::timed("convert", &mut command)
            }
        }
    }
}
