//! The system's `cp`: the least that writing a model can cost.

use std::path::Path;
use std::process::Command;

use super::{Engine, converted, not_done};
use crate::Result;
use crate::bench::peers::work::{Figure, Work};

/// The program.
pub(super) struct Cp;

impl Engine for Cp {
    fn measure(&self, work: &Work, model: &Path, _: usize) -> Result<Vec<Figure>> {
        match work {
            Work::Convert => {
                let mut command = Command::new("cp");
                command.arg("-r").arg(model).arg(converted()?);
                Figure::timed("convert", &mut command)
            }
            _ => not_done(),
        }
    }
}
