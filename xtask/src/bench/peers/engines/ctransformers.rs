//! ctransformers, a Python package of 2023 around ggml's programs for many architectures.

use std::path::Path;

use super::{Engine, Place, not_done};
use crate::Result;
use crate::bench::peers::work::{Figure, Work, speeds};
use crate::shell::output;

/// A virtual environment with the package; its one option is the architecture, which old files do not tell.
pub(super) struct Ctransformers(pub(super) Place);

/// Prints what llama-bench prints.
const SCRIPT: &str = include_str!("ctransformers.py");

impl Engine for Ctransformers {
    fn measure(&self, work: &Work, model: &Path, n_threads: usize) -> Result<Vec<Figure>> {
        let &Work::Speed { n_prompt, n_gen, n_depth: 0 } = work else { return not_done() };
        let [architecture] = &self.0.options[..] else {
            return Err(
                "ctransformers wants the architecture after its folder: --peer 'NAME=DIR gptj'"
                    .into(),
            );
        };
        let mut command = self.0.program("bin/python")?;
        command.args(["-c", SCRIPT]).arg(model).arg(architecture);
        command.args([n_prompt, n_gen, n_threads].map(|n| n.to_string()));
        speeds(&output(&mut command)?)
    }
}
